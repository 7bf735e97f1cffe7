"""Changes of tokens, readable from a cursor without gaps.

The table has one row per token. A trigger writes it with the id of the transaction. A
transaction may commit after one with a greater id, so a reader stops before the oldest
transaction in progress: below it, nothing can change any more. The sequence number of a log
would not show this, and a NOTIFY is lost with its connection. NOTIFY only wakes the readers.

A reader that remembers a snapshot instead of a position waits for no transaction: it reads the
changes that its snapshot did not show, in no particular order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, text

from services.catalog.models import TokenChange
from services.catalog.store.idempotency import REQUEST_ID_LIFETIME
from services.catalog.tables import requests, token_changes
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

CHANNEL = "catalog_token_changes"
PAGE_SIZE = 1000
DELETION_LIFETIME = timedelta(days=8)
"""One day longer than cursors are valid."""

# asyncpg has no codec for xid8. In practice it is a number of at most 63 bits.
_HORIZON = Statement(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
_TIME = Statement(text("SELECT extract(epoch FROM now())::bigint"))
_SNAPSHOT = Statement(
    text(
        """
        SELECT token_id, revision, deleted FROM catalog.token_changes
        WHERE token_id > :after_id AND NOT deleted
        ORDER BY token_id LIMIT :size
        """
    )
)
_CHANGES = Statement(
    text(
        """
        SELECT token_id, revision, deleted, transaction_id::text::bigint AS transaction_id
        FROM catalog.token_changes
        WHERE (transaction_id, token_id) > (CAST(CAST(:transaction_id AS text) AS xid8), :after_id)
            AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY token_changes.transaction_id, token_changes.token_id LIMIT :size
        """
    )
)

_SINCE_SNAPSHOT = Statement(
    text(
        f"""
        SELECT pg_current_snapshot()::text AS snapshot,
            pg_postmaster_start_time()::text AS server,
            ARRAY(
                SELECT token_id FROM catalog.token_changes
                WHERE transaction_id >= pg_snapshot_xmin(CAST(CAST(:since AS text) AS pg_snapshot))
                    AND NOT pg_visible_in_snapshot(
                        transaction_id, CAST(CAST(:since AS text) AS pg_snapshot)
                    )
                LIMIT {PAGE_SIZE + 1}
            ) AS token_ids
        """
    )
)

Position = tuple[int, int]
"""The transaction id and the token id of the last change that a reader has."""


@dataclass(frozen=True)
class RecentChanges:
    """The tokens that changed between two snapshots of PostgreSQL.

    token_ids: None if they are not known: there is no earlier snapshot, or it is of another
        server, or more than PAGE_SIZE tokens changed since.
    """

    snapshot: str
    server: str
    token_ids: Sequence[int] | None


@retried_on_schema_change
class ChangeStore:
    """Reads changes of tokens and deletes expired rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def writes(self) -> int:
        """How many transactions of this process have ended, so that it sees its own changes."""
        return self._database.ended_transactions

    async def horizon(self) -> int:
        """The id of the oldest transaction in progress: all older changes are visible."""
        return await self._number(_HORIZON)

    async def time(self) -> int:
        """PostgreSQL's time: seconds since 1970."""
        return await self._number(_TIME)

    async def all_tokens(self) -> AsyncIterator[list[TokenChange]]:
        """The states of all tokens, in pages."""
        after_id = 0
        while True:
            async with self._database.connection() as connection:
                rows = await _SNAPSHOT.rows(connection, after_id=after_id, size=PAGE_SIZE)
            if rows:
                yield [TokenChange(*row) for row in rows]
                after_id = rows[-1]["token_id"]
            if len(rows) < PAGE_SIZE:
                return

    async def changes_after(self, position: Position) -> tuple[list[TokenChange], Position]:
        """At most PAGE_SIZE changes after a position, and the position of the last one."""
        transaction_id, after_id = position
        async with self._database.connection() as connection:
            rows = await _CHANGES.rows(
                connection, transaction_id=str(transaction_id), after_id=after_id, size=PAGE_SIZE
            )
        changes = [TokenChange(*row[:3]) for row in rows]
        return changes, (rows[-1]["transaction_id"], rows[-1]["token_id"]) if rows else position

    async def recent(self, since: RecentChanges | None) -> RecentChanges:
        """The committed changes that the snapshot of an earlier call did not show."""
        async with self._database.connection() as connection:
            row = await _SINCE_SNAPSHOT.row(connection, since=since.snapshot if since else None)
        if row is None:
            raise AssertionError
        token_ids: list[int] = row["token_ids"]
        is_known = since and since.server == row["server"] and len(token_ids) <= PAGE_SIZE
        return RecentChanges(row["snapshot"], row["server"], token_ids if is_known else None)

    async def delete_expired(self) -> None:
        """Delete the rows of tokens deleted before any valid cursor, and expired request ids."""
        deletions = delete(token_changes).where(
            token_changes.c.deleted,
            token_changes.c.change_time < func.now() - DELETION_LIFETIME,
        )
        request_ids = delete(requests).where(
            requests.c.create_time < func.now() - REQUEST_ID_LIFETIME
        )
        async with self._database.transaction() as connection:
            await connection.execute(deletions)
            await connection.execute(request_ids)

    async def _number(self, statement: Statement) -> int:
        async with self._database.connection() as connection:
            row = await statement.row(connection)
        return int(row[0]) if row else 0
