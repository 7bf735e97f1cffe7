"""The effects of links in mails: verify an address, change it, reset a password.

Each call takes the token out of its table in the transaction of its effect, so a link works once,
also for two calls at the same time.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.errors import MailTokenInvalid
from services.accounts.letters import Occasion, Purpose
from services.accounts.models import AuditEntry
from services.accounts.sealing import token_hash
from services.accounts.store.adoptions import remember_guest
from services.accounts.store.audit import record
from services.accounts.store.mails import queue_mail
from services.accounts.store.sessions import end_sessions
from services.accounts.tables import (
    accounts,
    adoptions,
    mail_tokens,
    passkey_challenges,
    passkeys,
    recovery_codes,
)
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.language import Language


@retried_on_schema_change
class MailLinkStore:
    """Uses the tokens of links."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def verify(self, token: str, address: str) -> None:
        """Verify an address, or change it. address: of the client, for the audit log.

        Errors: MailTokenInvalid.
        """
        purposes = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL)
        try:
            async with self._database.transaction() as connection:
                used = await _use(connection, token, *purposes)
                effect = _verify if used.purpose == Purpose.VERIFY_EMAIL else _change_email
                await effect(connection, used)
                await _finish(connection, used, used.purpose, address)
        except IntegrityError:
            # Another account has the address now.
            raise MailTokenInvalid from None

    async def find_reset(self, token: str) -> str | None:
        """The address that a token of a password reset was sent to; None if it is invalid."""
        statement = select(mail_tokens.c.email).where(*_is_valid(token, Purpose.RESET_PASSWORD))
        async with self._database.transaction() as connection:
            email: str | None = await connection.scalar(statement)
        return email

    async def reset_password(self, token: str, password_hash: str, address: str) -> None:
        """Set a password, end all sessions and queue a notice to the owner.

        The link also proves that the owner reads the mailbox, so it verifies the address. Second
        factors from before that may be a stranger's, so they are removed.
        address: of the client, for the audit log. Errors: MailTokenInvalid.
        """
        async with self._database.transaction() as connection:
            used = await _use(connection, token, Purpose.RESET_PASSWORD)
            if used.email != used.present_email:
                raise MailTokenInvalid
            await _update(
                connection,
                used.account_id,
                password_hash=password_hash,
                password_change_time=func.now(),
                email_verified=True,
            )
            if not used.email_verified:
                await _remove_second_factors(connection, used.account_id)
            await end_sessions(connection, used.account_id)
            await _queue_notice(connection, used, Occasion.PASSWORD_CHANGED, used.email)
            await _finish(connection, used, "reset_password", address)


async def _use(connection: AsyncConnection, token: str, *purposes: Purpose) -> Any:
    """Lock the account of a token and delete the token; returns the values of both.

    All effects lock the account first, so two links of one account can't deadlock.
    Errors: MailTokenInvalid.
    """
    is_valid = _is_valid(token, *purposes)
    lock = (
        select(
            accounts.c.account_id,
            accounts.c.email.label("present_email"),
            accounts.c.email_verified,
            accounts.c.password_hash,
            accounts.c.language,
            mail_tokens.c.purpose,
            mail_tokens.c.email,
            mail_tokens.c.sign_up,
        )
        .join_from(mail_tokens, accounts, accounts.c.account_id == mail_tokens.c.account_id)
        .where(*is_valid, accounts.c.delete_time.is_(None))
        .with_for_update(of=accounts)
    )
    used = (await connection.execute(lock)).one_or_none()
    if used is not None:
        # Another call may have used it while this one waited for the lock.
        deletion = delete(mail_tokens).where(*is_valid).returning(mail_tokens.c.account_id)
        if (await connection.execute(deletion)).one_or_none() is not None:
            return used
    raise MailTokenInvalid


def _is_valid(token: str, *purposes: Purpose) -> tuple[Any, ...]:
    return (
        mail_tokens.c.token_hash == token_hash(token),
        mail_tokens.c.purpose.in_(purposes),
        mail_tokens.c.expire_time > func.now(),
    )


async def _verify(connection: AsyncConnection, used: Any) -> None:
    if used.email_verified or used.email != used.present_email:
        raise MailTokenInvalid
    values: dict[str, Any] = {}
    sign_up = used.sign_up
    if sign_up is not None and sign_up["password_hash"] != used.password_hash:
        values = {
            **{name: sign_up[name] for name in ("password_hash", "name", "language", "time_zone")},
            "password_change_time": func.now(),
        }
        await _displace_stranger(connection, used.account_id, sign_up["guest_owner_id"])
    await _update(connection, used.account_id, email_verified=True, **values)


async def _displace_stranger(
    connection: AsyncConnection, account_id: UUID, guest_owner_id: str
) -> None:
    """Remove what earlier sign-ups set up, which may be those of a stranger."""
    await end_sessions(connection, account_id)
    await _remove_second_factors(connection, account_id)
    await connection.execute(
        delete(adoptions).where(
            adoptions.c.account_id == account_id, adoptions.c.due_time.is_(None)
        )
    )
    if guest_owner_id:
        await remember_guest(connection, guest_owner_id, account_id)


async def _remove_second_factors(connection: AsyncConnection, account_id: UUID) -> None:
    await _update(connection, account_id, totp_secret=None, totp_pending_secret=None)
    for table in (passkeys, passkey_challenges, recovery_codes):
        await connection.execute(delete(table).where(table.c.account_id == account_id))


async def _change_email(connection: AsyncConnection, used: Any) -> None:
    await _update(connection, used.account_id, email=used.email, email_verified=True)
    if used.present_email and used.email_verified:
        await _queue_notice(connection, used, Occasion.EMAIL_CHANGED, used.present_email)


async def _update(connection: AsyncConnection, account_id: UUID, **values: Any) -> None:
    await connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(update_time=func.now(), **values)
    )


async def _queue_notice(
    connection: AsyncConnection, used: Any, occasion: Occasion, recipient: str
) -> None:
    language = Language(used.language)
    await queue_mail(connection, occasion, recipient, language, account_id=used.account_id)


async def _finish(connection: AsyncConnection, used: Any, action: str, address: str) -> None:
    """Make the account's other links invalid, and write the audit log."""
    await connection.execute(delete(mail_tokens).where(mail_tokens.c.account_id == used.account_id))
    actor = str(used.account_id)
    await record(connection, AuditEntry(actor, actor, action, "", address))
