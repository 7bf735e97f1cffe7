"""Guests whose takes an account receives after its first login."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.tables import adoptions
from services.runtime.database import Database, retried_on_schema_change

LEASE = timedelta(minutes=1)
"""How long another attempt waits for this one, and how soon a failed one is repeated."""

REPEAT_AFTER = timedelta(minutes=15)
"""When the takes that the guest was uploading at the login have arrived."""


@dataclass(frozen=True)
class Adoption:
    """A guest whose takes an account receives. is_repeated: whether it received some before."""

    guest_owner_id: str
    account_id: UUID
    is_repeated: bool


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


@retried_on_schema_change
class AdoptionStore:
    """Hands out adoptions that are due, each to one process at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self) -> Adoption | None:
        """An adoption that is due, and not again before LEASE; None without one."""
        due = (
            select(adoptions.c.guest_owner_id)
            .where(adoptions.c.due_time <= func.now())
            .order_by(adoptions.c.due_time)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(adoptions)
            .where(adoptions.c.guest_owner_id == due)
            .values(due_time=func.now() + LEASE)
            .returning(
                adoptions.c.guest_owner_id,
                adoptions.c.account_id,
                adoptions.c.adopt_time.is_not(None),
            )
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else Adoption(*row)

    async def finish(self, adoption: Adoption) -> None:
        """Record that the takes changed their owner; repeat it once after REPEAT_AFTER."""
        is_same = adoptions.c.guest_owner_id == adoption.guest_owner_id
        async with self._database.transaction() as connection:
            if adoption.is_repeated:
                await connection.execute(delete(adoptions).where(is_same))
            else:
                await connection.execute(
                    update(adoptions)
                    .where(is_same)
                    .values(adopt_time=func.now(), due_time=func.now() + REPEAT_AFTER)
                )
