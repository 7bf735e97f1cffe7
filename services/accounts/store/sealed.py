"""Everything that ACCOUNTS_SECRET encrypts in PostgreSQL, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update

from services.accounts.tables import accounts, signing_keys
from services.runtime.database import Database, retried_on_schema_change


@dataclass(frozen=True)
class Sealed:
    """One encrypted value. column: of the table. row: the value of its primary key."""

    column: Any
    row: UUID | str
    content: bytes = field(repr=False)


_FACTORS = (accounts.c.totp_secret, accounts.c.totp_pending_secret)


@retried_on_schema_change
class SealedStore:
    """Reads and replaces encrypted values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def factors(self, size: int, after: UUID | None) -> Sequence[Sealed]:
        """The secrets of authenticator apps of at most `size` accounts, by account id.

        after: the last account of the batch before; None for the first batch.
        """
        query = (
            select(accounts.c.account_id, *_FACTORS)
            .where(or_(*(column.is_not(None) for column in _FACTORS)))
            .order_by(accounts.c.account_id)
            .limit(size)
        )
        if after is not None:
            query = query.where(accounts.c.account_id > after)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Sealed(column, account_id, content)
            for account_id, *contents in rows
            for column, content in zip(_FACTORS, contents, strict=True)
            if content is not None
        ]

    async def keys(self) -> Sequence[Sealed]:
        """The private keys that sign access tokens."""
        query = select(signing_keys.c.kid, signing_keys.c.private_key)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [Sealed(signing_keys.c.private_key, kid, content) for kid, content in rows]

    async def replace(self, values: Sequence[tuple[Sealed, bytes]]) -> int:
        """Replace values in one transaction; returns how many had not changed meanwhile."""
        replaced = 0
        async with self._database.transaction() as connection:
            for sealed, content in values:
                table = sealed.column.table
                statement = (
                    update(table)
                    .where(
                        table.primary_key.columns.values()[0] == sealed.row,
                        sealed.column == sealed.content,
                    )
                    .values({sealed.column: content})
                )
                replaced += (await connection.execute(statement)).rowcount
        return replaced
