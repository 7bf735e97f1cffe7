"""The audit log."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import AuditEntry
from services.accounts.tables import audit
from services.runtime.database import Database, retried_on_schema_change


async def record(connection: AsyncConnection, entry: AuditEntry) -> None:
    """Add an entry in the transaction of the change that it describes."""
    await connection.execute(
        insert(audit).values(
            actor_id=entry.actor_id,
            account_id=entry.account_id,
            action=entry.action,
            detail=entry.detail,
            address=entry.address,
        )
    )


@retried_on_schema_change
class AuditStore:
    """Reads the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, size: int, before_id: int | None, account_id: str = ""
    ) -> Sequence[AuditEntry]:
        """At most `size` entries, the newest first.

        before_id: of the last entry read; None for the first page. account_id: only entries about
        this account; empty means all.
        """
        statement = select(
            audit.c.actor_id,
            audit.c.account_id,
            audit.c.action,
            audit.c.detail,
            audit.c.address,
            audit.c.time,
            audit.c.entry_id,
        ).order_by(audit.c.entry_id.desc())
        if before_id is not None:
            statement = statement.where(audit.c.entry_id < before_id)
        if account_id:
            statement = statement.where(audit.c.account_id == account_id)
        async with self._database.transaction() as connection:
            return [AuditEntry(*row) for row in await connection.execute(statement.limit(size))]
