"""The outbox: mails that wait to be sent, and the tokens of their links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.letters import Letter, Occasion, Purpose, QueuedMail, RecipientAccount
from services.accounts.sealing import new_token, token_hash
from services.accounts.tables import accounts, mail_tokens, mails
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.language import Language


async def queue_mail(
    connection: AsyncConnection,
    occasion: Occasion,
    recipient: str,
    language: Language,
    *,
    account_id: UUID | None = None,
    sign_up: Mapping[str, str] | None = None,
) -> None:
    """Queue a mail in the transaction of the change that causes it.

    language: used if the recipient has no account. The other values are those of `QueuedMail`.
    """
    await connection.execute(
        insert(mails).values(
            mail_id=uuid4(),
            account_id=account_id,
            occasion=occasion,
            recipient=recipient,
            language=language,
            sign_up=sign_up,
            expire_time=func.now() + occasion.expires_after,
        )
    )


@retried_on_schema_change
class MailStore:
    """Queues, claims and settles mails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue(
        self,
        occasion: Occasion,
        recipient: str,
        language: Language,
        account_id: UUID | None = None,
    ) -> None:
        """Queue a mail. The values are those of `queue_mail`."""
        async with self._database.transaction() as connection:
            await queue_mail(connection, occasion, recipient, language, account_id=account_id)

    async def claim(
        self, limit: int, lease: timedelta
    ) -> list[tuple[QueuedMail, RecipientAccount | None]]:
        """Claim due mails; no other process gets them before the lease ends.

        Returns each mail with the account that has the recipient's address.
        """
        due = (
            select(mails.c.mail_id)
            .where(mails.c.due_time <= func.now(), mails.c.expire_time > func.now())
            .order_by(mails.c.due_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(mails)
            .where(mails.c.mail_id.in_(due))
            .values(attempts=mails.c.attempts + 1, due_time=func.now() + lease)
            .returning(mails)
        )
        async with self._database.transaction() as connection:
            claimed = [_mail_of(row) for row in await connection.execute(statement)]
            found = await _accounts_of(connection, {mail.recipient for mail in claimed})
        return [(mail, found.get(mail.recipient)) for mail in claimed]

    async def add_token(self, mail: QueuedMail, letter: Letter, purpose: Purpose) -> str | None:
        """Create the token of a letter's link; None if the account was deleted meanwhile.

        Every attempt to send a mail creates a new token: the database has no token itself,
        and a mail that arrived although its attempt failed keeps a valid link.
        """
        token = new_token()
        values: dict[str, Any] = {
            "token_hash": literal(token_hash(token)),
            "purpose": literal(purpose.value),
            "account_id": accounts.c.account_id,
            "email": literal(mail.recipient),
            "sign_up": literal(letter.sign_up, mail_tokens.c.sign_up.type),
            "expire_time": func.now() + purpose.valid_for,
        }
        source = select(*values.values()).where(
            accounts.c.account_id == letter.account_id, accounts.c.delete_time.is_(None)
        )
        statement = insert(mail_tokens).from_select(list(values), source)
        async with self._database.transaction() as connection:
            created = await connection.execute(statement.returning(mail_tokens.c.token_hash))
            return token if created.first() is not None else None

    async def delete(self, mail: QueuedMail) -> None:
        """Delete a claimed mail: it was sent, or it has no recipient any more."""
        await self._settle(delete(mails), mail)

    async def postpone(self, mail: QueuedMail, delay: timedelta) -> None:
        """Release a claimed mail for a further attempt."""
        await self._settle(update(mails).values(due_time=func.now() + delay), mail)

    async def oldest_seconds(self) -> float:
        """The age of the oldest mail that waits; 0 without one."""
        age = func.extract("epoch", func.now() - func.min(mails.c.create_time))
        async with self._database.transaction() as connection:
            return float(await connection.scalar(select(age)) or 0)

    async def _settle(self, statement: Any, mail: QueuedMail) -> None:
        # Another process may have claimed it after the end of the lease.
        own = (mails.c.mail_id == mail.mail_id, mails.c.attempts == mail.attempts)
        async with self._database.transaction() as connection:
            await connection.execute(statement.where(*own))


def _mail_of(row: Any) -> QueuedMail:
    return QueuedMail(
        row.mail_id,
        Occasion(row.occasion),
        row.recipient,
        Language(row.language),
        row.account_id,
        row.sign_up,
        row.attempts,
    )


async def _accounts_of(
    connection: AsyncConnection, emails: set[str]
) -> dict[str, RecipientAccount]:
    columns = (accounts.c.email, accounts.c.account_id, accounts.c.email_verified)
    statement = select(*columns, accounts.c.language).where(
        accounts.c.email.in_(emails), accounts.c.delete_time.is_(None)
    )
    return {
        row.email: RecipientAccount(row.account_id, row.email_verified, Language(row.language))
        for row in await connection.execute(statement)
    }
