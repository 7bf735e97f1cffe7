"""The SQL of what belongs to one owner."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update

from services.runtime.database import Database, retried_on_schema_change
from services.upload.store.writer_statements import CLAIM_DURATION
from services.upload.tables import client_bytes, uploads

# An upload that ended and has expired is unknown to clients; the reaper deletes it.
_IS_KNOWN = or_(uploads.c.end_time.is_(None), uploads.c.expire_time > func.now())


@dataclass(frozen=True)
class Erasure:
    """The uploads of an owner that must be erased.

    upload_ids: some of them. has_more: whether there are others.
    """

    upload_ids: tuple[UUID, ...]
    has_more: bool


@retried_on_schema_change
class OwnerStore:
    """Finds, transfers and forgets the uploads of an owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def adopt(self, from_owner_id: str, to_owner_id: str) -> int:
        """Give all uploads of an owner to another one; returns their number."""
        statement = (
            update(uploads).where(uploads.c.owner_id == from_owner_id).values(owner_id=to_owner_id)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount

    async def to_erase(self, owner_id: str, limit: int) -> Erasure:
        """At most `limit` uploads of an owner that are not erased yet."""
        statement = (
            select(uploads.c.upload_id)
            .where(uploads.c.owner_id == owner_id, _IS_KNOWN)
            .order_by(uploads.c.upload_id)
            .limit(limit + 1)
        )
        async with self._database.transaction() as connection:
            found = list((await connection.execute(statement)).scalars())
        return Erasure(tuple(found[:limit]), has_more=len(found) > limit)

    async def forget_ended(self, upload_id: UUID) -> bool:
        """Let an upload that has ended expire now, and free its request id; False if it is open.

        The reaper deletes what S3 has of it and its row, once superseded writers have noticed.
        """
        noticed = func.greatest(uploads.c.end_time + CLAIM_DURATION, func.now())
        statement = (
            update(uploads)
            .where(uploads.c.upload_id == upload_id, uploads.c.end_time.is_not(None))
            .values(request_id=None, expire_time=func.now(), due_time=noticed)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def stored(self, owner_id: str) -> int:
        """The number of erased uploads of an owner that the reaper has yet to delete."""
        statement = select(func.count()).where(uploads.c.owner_id == owner_id, ~_IS_KNOWN)
        async with self._database.transaction() as connection:
            return await connection.scalar(statement) or 0

    async def delete_counts(self, client: str) -> None:
        """Delete the counts of the bytes that a client sent. client: its key of limits."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(client_bytes).where(client_bytes.c.client == client))
