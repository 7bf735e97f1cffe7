"""Reading accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.errors import AccountNotFound
from services.accounts.models import Account, Role
from services.accounts.store.rows import account_of, select_accounts
from services.accounts.tables import accounts, roles
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class AccountStore:
    """Reads accounts that are not deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account_id: UUID) -> Account:
        """Read an account. Errors: AccountNotFound."""
        async with self._database.transaction() as connection:
            return await read_account(connection, account_id)

    async def find(self, email: str) -> Account | None:
        """The account with this e-mail address, in lower case; None if there is none."""
        statement = select_accounts().where(accounts.c.email == email)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else account_of(row)

    async def page(
        self,
        size: int,
        before: tuple[datetime, UUID] | None,
        *,
        email: str = "",
        role: Role | None = None,
    ) -> Sequence[Account]:
        """At most `size` accounts, the newest first.

        before: the creation time and id of the last account read; None for the first page.
        email, role: only accounts with them; empty and None mean all.
        """
        order = tuple_(accounts.c.create_time, accounts.c.account_id)
        statement = select_accounts().order_by(
            accounts.c.create_time.desc(), accounts.c.account_id.desc()
        )
        if before is not None:
            statement = statement.where(order < before)
        if email:
            statement = statement.where(accounts.c.email == email)
        if role is not None:
            with_role = select(roles.c.account_id).where(roles.c.role == role)
            statement = statement.where(accounts.c.account_id.in_(with_role))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement.limit(size))).mappings()
            return [account_of(row) for row in rows]


async def read_account(connection: AsyncConnection, account_id: UUID) -> Account:
    """Read an account in a transaction. Errors: AccountNotFound."""
    statement = select_accounts().where(accounts.c.account_id == account_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise AccountNotFound(account_id=account_id)
    return account_of(row)


async def lock_account(connection: AsyncConnection, account_id: UUID) -> None:
    """Lock an account that is not deleted until the transaction ends. Errors: AccountNotFound."""
    statement = (
        select(accounts.c.account_id)
        .where(accounts.c.account_id == account_id, accounts.c.delete_time.is_(None))
        .with_for_update()
    )
    if (await connection.execute(statement)).one_or_none() is None:
        raise AccountNotFound(account_id=account_id)
