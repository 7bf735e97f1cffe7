"""Accounts, sessions and roles, as the service handles them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """A role, by its name in tables and tokens."""

    CATALOG_EDITOR = "catalog_editor"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Picture:
    """The picture of an account: an object in S3. size: bytes."""

    object_key: str
    content_type: str
    size: int


@dataclass(frozen=True)
class Account:
    """An account that is not deleted.

    email: in lower case; None if a provider states none. providers: names of linked providers.
    """

    account_id: UUID
    email: str | None
    email_verified: bool
    name: str
    language: str
    time_zone: str
    create_time: datetime
    has_password: bool = False
    has_totp: bool = False
    has_passkey: bool = False
    roles: tuple[Role, ...] = ()
    providers: tuple[str, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True)
class Passkey:
    """A passkey of an account. is_backed_up: whether the loss of one device does not lose it."""

    passkey_id: UUID
    name: str
    is_backed_up: bool
    create_time: datetime
    use_time: datetime | None


@dataclass(frozen=True)
class Session:
    """A login on one device. address: of the client at the last refresh."""

    session_id: UUID
    account_id: UUID
    device: str
    address: str
    create_time: datetime
    refresh_time: datetime
    expire_time: datetime


@dataclass(frozen=True)
class IssuedTokens:
    """The tokens of a session, or of an internal client, which has no session.

    withheld_roles: granted ones that the access token leaves out, because the account has no
    second factor.
    """

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(default="", repr=False)
    session_id: str = ""
    withheld_roles: tuple[Role, ...] = ()


@dataclass(frozen=True)
class AuditEntry:
    """A change by an operator, or of an account's security.

    actor_id: of an account or client; "command" for the command line.
    account_id: the changed account; empty for changes of none.
    detail: without personal data. address: of the caller.
    """

    actor_id: str
    account_id: str
    action: str
    detail: str = ""
    address: str = ""
    time: datetime | None = None
    entry_id: int = 0


@dataclass(frozen=True)
class Erasure:
    """The receipt of a deleted account. account_id: None when everything was erased."""

    erasure_id: UUID
    account_id: UUID | None
    request_time: datetime
    deadline: datetime
    complete_time: datetime | None = None
    erased_analyses: int = 0
    erased_uploads: int = 0


@dataclass(frozen=True)
class Actor:
    """The caller that makes a change.

    actor_id: of an account or client; "command" for the command line. address: of the caller.
    """

    actor_id: str
    address: str = ""


@dataclass(frozen=True)
class Client:
    """A program of an internal team. roles: of its tokens."""

    client_id: UUID
    secret_hash: bytes = field(repr=False)
    roles: tuple[Role, ...] = ()
