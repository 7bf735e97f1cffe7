"""Token watches: a snapshot of all tokens, then every change, with cursors to resume from."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from services.catalog.freshness import wait_until_seen
from services.catalog.models import TokenChange
from services.catalog.store import ChangeStore
from services.catalog.store.changes import CHANNEL, Position
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField, ShuttingDown

CURSOR_SECONDS = 7 * 24 * 3600
POLL_SECONDS = 1.0
"""A change is sent at most this long after all older transactions have ended."""

POLLED_SECONDS = 30.0
"""How long after a change the watches poll. If older transactions take longer, the change is
sent when the LISTEN connection is next checked, within `database.PROBE_SECONDS`."""

_CURSOR = re.compile(r"(\d{1,18})\.(\d{1,9}|1\d{9}|2[01]\d{8})\.(\d{1,11})", re.ASCII)


@dataclass(frozen=True)
class ChangeBatch:
    """Some changes, and the cursor after them; see WatchTokensResponse."""

    changes: Sequence[TokenChange]
    cursor: str
    is_snapshot: bool = False


class TokenWatch:
    """Sends the changes of tokens to any number of watchers."""

    def __init__(self, store: ChangeStore, database: Database, heartbeat_seconds: float) -> None:
        self._store = store
        self._database = database
        self._heartbeat = heartbeat_seconds
        self._changed = asyncio.Event()
        self._polled_until = 0.0
        self._stopping = False

    async def watch(self, cursor: str) -> AsyncGenerator[ChangeBatch, None]:
        """The changes since a cursor, or a snapshot and the changes since then.

        The watch ends only when the caller closes it or the server stops.
        Errors: InvalidField if the cursor is malformed, ShuttingDown if the server stops.
        """
        position = await self._position_of(cursor)
        if position is None:
            position = (await self._store.horizon(), 0)
            async for changes in self._store.all_tokens():
                yield ChangeBatch(changes, "", is_snapshot=True)
            await wait_until_seen()
            yield ChangeBatch((), await self._cursor(position), is_snapshot=True)
        sent_at = time.monotonic()
        while not self._stopping:
            changed = self._changed
            changes, position = await self._store.changes_after(position)
            if changes:
                # Receivers read the tokens again, at any replica.
                await wait_until_seen()
            if changes or time.monotonic() - sent_at >= self._heartbeat:
                yield ChangeBatch(changes, await self._cursor(position))
                sent_at = time.monotonic()
            if not changes:
                is_polled = time.monotonic() < self._polled_until
                pause = POLL_SECONDS if is_polled else self._heartbeat
                await _wait(changed, min(pause, self._heartbeat))
        raise ShuttingDown

    async def run(self) -> None:
        """Wake the watchers as soon as any process changes a token, until cancelled."""
        await self._database.listen(CHANNEL, lambda _: self._poll(), self._wake)

    async def stop(self) -> None:
        """End all watches."""
        self._stopping = True
        self._wake()

    async def _position_of(self, cursor: str) -> Position | None:
        """The position of a cursor; None if the watch has to start with a snapshot."""
        if not cursor:
            return None
        parts = _CURSOR.fullmatch(cursor)
        if parts is None:
            problem = "must be a cursor that WatchTokens returned"
            raise InvalidField(FieldViolation("cursor", problem))
        transaction_id, token_id, created_at = map(int, parts.groups())
        if await self._store.time() - created_at > CURSOR_SECONDS:
            return None
        if transaction_id > await self._store.horizon():
            # The cursor is of another database, or of this one before it was restored.
            return None
        return transaction_id, token_id

    async def _cursor(self, position: Position) -> str:
        transaction_id, token_id = position
        # Another replica compares the time, so it is not that of this host.
        return f"{transaction_id}.{token_id}.{await self._store.time()}"

    def _poll(self) -> None:
        """Send a change now, or soon: older transactions may still run."""
        self._polled_until = time.monotonic() + POLLED_SECONDS
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
