"""The SQL of limits per client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Date, cast, delete, func, select
from sqlalchemy.dialects import postgresql

from services.runtime.database import Database
from services.upload.tables import client_bytes, uploads

_IS_OPEN = uploads.c.end_time.is_(None) & (uploads.c.expire_time > func.now())
_TODAY = cast(func.timezone("UTC", func.now()), Date)


@dataclass(frozen=True)
class ClientUsage:
    """What a client uses. bytes_today: received from it since midnight UTC."""

    open_uploads: int
    bytes_today: int


class ClientStore:
    """Reads what clients use, and counts the bytes that they send."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage_of(self, client: str) -> ClientUsage:
        """What a client uses, over all replicas."""
        opened = select(func.count()).where(uploads.c.client == client, _IS_OPEN)
        sent = select(client_bytes.c.bytes).where(
            client_bytes.c.day == _TODAY, client_bytes.c.client == client
        )
        statement = select(
            opened.scalar_subquery(), func.coalesce(sent.scalar_subquery(), 0).label("bytes")
        )
        async with self._database.transaction() as connection:
            return ClientUsage(*(await connection.execute(statement)).one())

    async def add_bytes(self, received: Mapping[str, int]) -> dict[str, ClientUsage]:
        """Add the bytes that clients sent; returns what these clients use now."""
        # In one order, so that replicas do not deadlock.
        counts = [
            {"day": _TODAY, "client": client, "bytes": size}
            for client, size in sorted(received.items())
        ]
        statement = postgresql.insert(client_bytes).values(counts)
        statement = statement.on_conflict_do_update(
            index_elements=[client_bytes.c.day, client_bytes.c.client],
            set_={"bytes": client_bytes.c.bytes + statement.excluded.bytes},
        )
        added = statement.returning(client_bytes.c.client, client_bytes.c.bytes).cte("added")
        opened = select(func.count()).where(uploads.c.client == added.c.client, _IS_OPEN)
        usages = select(added, opened.scalar_subquery().label("open_uploads"))
        async with self._database.transaction() as connection:
            await connection.execute(delete(client_bytes).where(client_bytes.c.day < _TODAY))
            rows = await connection.execute(usages)
            return {row.client: ClientUsage(row.open_uploads, row.bytes) for row in rows}
