"""Guests whose takes an account receives after its first login."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.tables import adoptions


async def remember_guest(
    connection: AsyncConnection, guest_owner_id: str, account_id: UUID
) -> None:
    """Note that an account, once it has logged in, receives the takes of a guest.

    guest_owner_id: `Caller.owner_id` of the guest who signs up. A guest belongs to the first
    account that signs up.
    """
    await connection.execute(
        insert(adoptions)
        .values(guest_owner_id=guest_owner_id, account_id=account_id)
        .on_conflict_do_nothing()
    )
