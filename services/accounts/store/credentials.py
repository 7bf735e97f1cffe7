"""Reading and renewing the hashes of passwords."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from services.accounts.errors import AccountNotFound
from services.accounts.tables import accounts
from services.runtime.database import Database, retried_on_schema_change


@dataclass(frozen=True)
class Credentials:
    """The values that a login checks. password_hash: None for an account without a password."""

    account_id: UUID
    email: str | None
    email_verified: bool
    language: str
    password_hash: str | None = field(repr=False)


_SELECT = select(
    accounts.c.account_id,
    accounts.c.email,
    accounts.c.email_verified,
    accounts.c.language,
    accounts.c.password_hash,
).where(accounts.c.delete_time.is_(None))


@retried_on_schema_change
class CredentialStore:
    """Reads and renews credentials."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, email: str) -> Credentials | None:
        """The credentials of the account with this address; None if there is none."""
        return await self._read(_SELECT.where(accounts.c.email == email))

    async def get(self, account_id: UUID) -> Credentials:
        """The credentials of an account. Errors: AccountNotFound."""
        found = await self._read(_SELECT.where(accounts.c.account_id == account_id))
        if found is None:
            raise AccountNotFound(account_id=account_id)
        return found

    async def rehash(self, credentials: Credentials, password_hash: str) -> Credentials:
        """Replace the hash of an unchanged password by one with the present parameters."""
        statement = (
            update(accounts)
            .where(
                accounts.c.account_id == credentials.account_id,
                accounts.c.password_hash == credentials.password_hash,
            )
            .values(password_hash=password_hash)
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)
        return replace(credentials, password_hash=password_hash)

    async def _read(self, statement: Any) -> Credentials | None:
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else Credentials(**row)
