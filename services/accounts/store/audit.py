"""The audit log."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import AuditEntry
from services.accounts.tables import audit


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
