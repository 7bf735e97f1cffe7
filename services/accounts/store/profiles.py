"""Changes that learners make to their own accounts."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func, update

from services.accounts.errors import AccountNotFound, CredentialsInvalid
from services.accounts.letters import Occasion
from services.accounts.models import AuditEntry
from services.accounts.profile_fields import ProfileFields
from services.accounts.store.audit import record
from services.accounts.store.credentials import Credentials
from services.accounts.store.mails import queue_mail
from services.accounts.store.sessions import end_sessions
from services.accounts.tables import accounts, mail_tokens
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.language import Language


@retried_on_schema_change
class ProfileStore:
    """Changes profiles and passwords."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def update(self, account_id: UUID, profile: ProfileFields) -> None:
        """Set the fields of a profile. Errors: AccountNotFound."""
        statement = (
            update(accounts)
            .where(accounts.c.account_id == account_id, accounts.c.delete_time.is_(None))
            .values(
                name=profile.name,
                language=profile.language,
                time_zone=profile.time_zone,
                update_time=func.now(),
            )
            .returning(accounts.c.account_id)
        )
        async with self._database.transaction() as connection:
            if await connection.scalar(statement) is None:
                raise AccountNotFound(account_id=account_id)

    async def change_password(
        self,
        credentials: Credentials,
        password_hash: str,
        address: str,
        session_id: UUID | None,
    ) -> None:
        """Replace a password, end the other sessions and queue a notice to the owner.

        credentials: those that were checked. address: of the client, for the audit log.
        session_id: of the caller, which continues; None ends all.
        Errors: CredentialsInvalid if the password was changed meanwhile.
        """
        account_id = credentials.account_id
        statement = (
            update(accounts)
            .where(
                accounts.c.account_id == account_id,
                accounts.c.delete_time.is_(None),
                accounts.c.password_hash.is_not_distinct_from(credentials.password_hash),
            )
            .values(
                password_hash=password_hash,
                password_change_time=func.now(),
                update_time=func.now(),
            )
            .returning(accounts.c.account_id)
        )
        async with self._database.transaction() as connection:
            if await connection.scalar(statement) is None:
                raise CredentialsInvalid
            # A pending reset or change of the address may be an intruder's.
            await connection.execute(
                delete(mail_tokens).where(mail_tokens.c.account_id == account_id)
            )
            await end_sessions(connection, account_id, except_session=session_id)
            if credentials.email is not None and credentials.email_verified:
                await queue_mail(
                    connection,
                    Occasion.PASSWORD_CHANGED,
                    credentials.email,
                    Language(credentials.language),
                    account_id=account_id,
                )
            actor = str(account_id)
            await record(connection, AuditEntry(actor, actor, "change_password", "", address))
