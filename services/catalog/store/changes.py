"""Changes of tokens, to be followed from a cursor that skips none.

The table has one row a token, written by a trigger with the id of the transaction.
A transaction may commit after one with a greater id, so a reader stops before the
oldest that is still under way: what is below is complete. A sequence of a log could
not tell that, and NOTIFY alone is lost with the connection; it only wakes readers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from sqlalchemy import delete, func, text

from services.catalog.models import TokenChange
from services.catalog.store.idempotency import REQUEST_ID_AGE
from services.catalog.tables import requests, token_changes
from services.runtime.database import Database

CHANNEL = "catalog_token_changes"
PAGE_SIZE = 1000
DELETIONS_KEPT = timedelta(days=8)
"""A day more than cursors are good for."""

# xid8 has no codec of its own in asyncpg; it is a number of at most 63 bits in practice.
_HORIZON = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
_SNAPSHOT = text(
    """
    SELECT token_id, revision, deleted FROM catalog.token_changes
    WHERE token_id > :after_id AND NOT deleted
    ORDER BY token_id LIMIT :size
    """
)
_CHANGES = text(
    """
    SELECT token_id, revision, deleted, transaction_id::text::bigint AS transaction_id
    FROM catalog.token_changes
    WHERE (transaction_id, token_id) > (CAST(CAST(:transaction_id AS text) AS xid8), :after_id)
        AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY token_changes.transaction_id, token_changes.token_id LIMIT :size
    """
)

Position = tuple[int, int]
"""The transaction and the token up to which changes are known."""


class ChangeStore:
    """Reads changes of tokens, and forgets what nobody asks for any more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def horizon(self) -> int:
        """The oldest transaction under way: changes of those before it are complete."""
        async with self._database.transaction() as connection:
            return int((await connection.scalars(_HORIZON)).one())

    async def all_tokens(self) -> AsyncIterator[list[TokenChange]]:
        """The states of all tokens, page by page."""
        after_id = 0
        while True:
            async with self._database.transaction() as connection:
                parameters = {"after_id": after_id, "size": PAGE_SIZE}
                rows = (await connection.execute(_SNAPSHOT, parameters)).all()
            if rows:
                yield [TokenChange(row.token_id, row.revision, row.deleted) for row in rows]
                after_id = rows[-1].token_id
            if len(rows) < PAGE_SIZE:
                return

    async def after(self, position: Position) -> tuple[list[TokenChange], Position]:
        """At most PAGE_SIZE changes after a position, and the position they lead to."""
        parameters = {
            "transaction_id": str(position[0]),
            "after_id": position[1],
            "size": PAGE_SIZE,
        }
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_CHANGES, parameters)).all()
        changes = [TokenChange(row.token_id, row.revision, row.deleted) for row in rows]
        return changes, (rows[-1].transaction_id, rows[-1].token_id) if rows else position

    async def sweep(self) -> None:
        """Forget deletions that no good cursor is before, and old request ids."""
        deleted = delete(token_changes).where(
            token_changes.c.deleted, token_changes.c.change_time < func.now() - DELETIONS_KEPT
        )
        answered = delete(requests).where(requests.c.create_time < func.now() - REQUEST_ID_AGE)
        async with self._database.transaction() as connection:
            await connection.execute(deleted)
            await connection.execute(answered)
