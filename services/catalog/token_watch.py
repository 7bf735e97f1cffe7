"""Watching which tokens change: a snapshot, then changes, with a cursor to go on from."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from services.catalog.models import TokenChange
from services.catalog.store import ChangeStore
from services.catalog.store.changes import CHANNEL, Position
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField, ShuttingDown

CURSOR_SECONDS = 7 * 24 * 3600
POLL_SECONDS = 1.0
"""A change is told at the latest so long after all older transactions have ended."""

_CURSOR = re.compile(r"(\d{1,18})\.(\d{1,9}|1\d{9}|2[01]\d{8})\.(\d{1,11})", re.ASCII)


@dataclass(frozen=True)
class Notice:
    """Some changes, and where to go on after them; see WatchTokensResponse."""

    changes: Sequence[TokenChange]
    cursor: str
    is_snapshot: bool = False


class TokenWatch:
    """Lets any number of watchers follow the changes of tokens."""

    def __init__(self, store: ChangeStore, database: Database, heartbeat_seconds: float) -> None:
        self._store = store
        self._database = database
        self._heartbeat = heartbeat_seconds
        self._changed = asyncio.Event()
        self._stopping = False

    async def watch(self, cursor: str) -> AsyncGenerator[Notice, None]:
        """Changes since a cursor, or since a snapshot that comes first, for ever.

        Errors: InvalidField when the cursor is none, ShuttingDown at the end.
        """
        position = await self._known_position(cursor)
        if position is None:
            position = (await self._store.horizon(), 0)
            async for changes in self._store.all_tokens():
                yield Notice(changes, "", is_snapshot=True)
            yield Notice((), _cursor(position), is_snapshot=True)
        told_at = time.monotonic()
        while not self._stopping:
            changed = self._changed
            changes, position = await self._store.after(position)
            if changes or time.monotonic() - told_at >= self._heartbeat:
                yield Notice(changes, _cursor(position))
                told_at = time.monotonic()
            if not changes:
                await _wait(changed, min(POLL_SECONDS, self._heartbeat))
        raise ShuttingDown

    async def run(self) -> None:
        """Wake watchers as soon as a token changes, whichever process changes it."""
        await self._database.listen(CHANNEL, lambda _: self._wake(), self._wake)

    async def stop(self) -> None:
        """End all watches."""
        self._stopping = True
        self._wake()

    async def _known_position(self, cursor: str) -> Position | None:
        """Where a cursor points to; None when only a snapshot helps."""
        if not cursor:
            return None
        parts = _CURSOR.fullmatch(cursor)
        if parts is None:
            problem = "must be a cursor that WatchTokens has answered"
            raise InvalidField(FieldViolation("cursor", problem))
        transaction_id, token_id, made_at = map(int, parts.groups())
        if time.time() - made_at > CURSOR_SECONDS:
            return None
        if transaction_id > await self._store.horizon():
            # Of another database, or of this one before it was restored.
            return None
        return transaction_id, token_id

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _cursor(position: Position) -> str:
    transaction_id, token_id = position
    return f"{transaction_id}.{token_id}.{int(time.time())}"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
