"""Reading accounts."""

from __future__ import annotations

from uuid import UUID

from services.accounts.errors import AccountNotFound
from services.accounts.models import Account
from services.accounts.store.rows import account_of, select_accounts
from services.accounts.tables import accounts
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class AccountStore:
    """Reads accounts that are not deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account_id: UUID) -> Account:
        """Read an account. Errors: AccountNotFound."""
        statement = select_accounts().where(accounts.c.account_id == account_id)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        if row is None:
            raise AccountNotFound(account_id=account_id)
        return account_of(row)

    async def find(self, email: str) -> Account | None:
        """The account with this e-mail address, in lower case; None if there is none."""
        statement = select_accounts().where(accounts.c.email == email)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else account_of(row)
