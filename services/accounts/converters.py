"""Converting domain objects to protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.accounts.models import (
    Account,
    AuditEntry,
    Erasure,
    IssuedTokens,
    Passkey,
    Role,
    Session,
)
from services.runtime.times import timestamp_of
from sori.accounts.v1 import accounts_pb2 as pb

_ROLES = {
    Role.CATALOG_EDITOR: pb.ROLE_CATALOG_EDITOR,
    Role.OPERATOR: pb.ROLE_OPERATOR,
}


def role_from(role: pb.Role.ValueType) -> Role | None:
    """The role of the API; None if it is unspecified or unknown."""
    return next((own for own, value in _ROLES.items() if value == role), None)


def account_to(account: Account, picture_url: str = "") -> pb.Account:
    """The message of an account. picture_url: of its picture, if the caller gets it."""
    message = pb.Account(
        account_id=str(account.account_id),
        email=account.email or "",
        email_verified=account.email_verified,
        name=account.name,
        language=account.language,
        time_zone=account.time_zone,
        roles=[_ROLES[role] for role in account.roles],
        providers=account.providers,
        has_password=account.has_password,
        has_totp=account.has_totp,
        has_passkey=account.has_passkey,
        create_time=timestamp_of(account.create_time),
    )
    if account.picture is not None:
        message.picture.url = picture_url
        message.picture.content_type = account.picture.content_type
        message.picture.size = account.picture.size
    return message


def session_to(session: Session) -> pb.Session:
    """The message of a session."""
    return pb.Session(
        session_id=str(session.session_id),
        device=session.device,
        address=session.address,
        create_time=timestamp_of(session.create_time),
        refresh_time=timestamp_of(session.refresh_time),
        expire_time=timestamp_of(session.expire_time),
    )


def tokens_to(tokens: IssuedTokens, *, with_refresh_token: bool) -> pb.Tokens:
    """The message of a session's tokens."""
    return pb.Tokens(
        access_token=tokens.access_token,
        token_type="Bearer",  # noqa: S106 (a kind of tokens)
        expires_in=tokens.expires_in,
        refresh_token=tokens.refresh_token if with_refresh_token else "",
        session_id=tokens.session_id,
        withheld_roles=[_ROLES[role] for role in tokens.withheld_roles],
    )


def passkey_to(passkey: Passkey) -> pb.Passkey:
    """The message of a passkey."""
    message = pb.Passkey(
        passkey_id=str(passkey.passkey_id),
        name=passkey.name,
        is_backed_up=passkey.is_backed_up,
        create_time=timestamp_of(passkey.create_time),
    )
    if passkey.use_time is not None:
        message.use_time.CopyFrom(timestamp_of(passkey.use_time))
    return message


def passkey_options_to(options: Mapping[str, Any]) -> pb.PasskeyOptions:
    """The message of the options for a browser."""
    message = pb.PasskeyOptions()
    message.public_key.update(options)
    return message


def erasure_to(erasure: Erasure) -> pb.Erasure:
    """The message of a receipt."""
    message = pb.Erasure(
        erasure_id=str(erasure.erasure_id),
        request_time=timestamp_of(erasure.request_time),
        deadline=timestamp_of(erasure.deadline),
        erased_analyses=erasure.erased_analyses,
        erased_uploads=erasure.erased_uploads,
    )
    if erasure.complete_time is not None:
        message.complete_time.CopyFrom(timestamp_of(erasure.complete_time))
    return message


def audit_entry_to(entry: AuditEntry) -> pb.AuditEntry:
    """The message of an entry of the audit log."""
    message = pb.AuditEntry(
        actor_id=entry.actor_id,
        account_id=entry.account_id,
        action=entry.action,
        detail=entry.detail,
        address=entry.address,
    )
    if entry.time is not None:
        message.time.CopyFrom(timestamp_of(entry.time))
    return message
