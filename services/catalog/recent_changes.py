"""Which tokens changed since they were cached, asked of PostgreSQL by all calls together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from services.catalog import freshness
from services.catalog.store import ChangeStore, RecentChanges

Forget = Callable[[Sequence[int] | None], None]
"""Removes the tokens with these ids from a cache; None: all tokens."""


class RecentChangesReader:
    """Removes the tokens from caches that any process has changed.

    One read of the changes serves all calls within MAX_AGE_SECONDS, unless this process has
    written meanwhile. Later calls wait for the next read, one for all of them.
    """

    def __init__(self, store: ChangeStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._caches: list[Forget] = []
        self._last: RecentChanges | None = None
        self._is_current_until = 0.0
        self._writes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._reading: asyncio.Task[None] | None = None

    def add_cache(self, forget: Forget) -> None:
        """Remove changed tokens from one more cache, which is empty."""
        self._caches.append(forget)

    @property
    def writes(self) -> int:
        """How many transactions of this process have ended."""
        return self._store.writes

    @property
    def has_begun(self) -> bool:
        """Whether changes from now on will be seen; caches may be filled only then."""
        return self._last is not None

    @property
    def is_current(self) -> bool:
        """Whether the caches show all changes but those of the last MAX_AGE_SECONDS."""
        return self._clock() < self._is_current_until and self._writes == self.writes

    async def catch_up(self) -> None:
        """Return when every change committed before this call has been removed from the caches.

        Errors: DatabaseUnavailable; the caches are then empty.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_for_all())
        await waiter

    async def _read_for_all(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                error = await self._read()
                for waiter in waiting:
                    if waiter.done():
                        continue
                    if error is None:
                        waiter.set_result(None)
                    else:
                        waiter.set_exception(error)
        finally:
            self._reading = None

    async def _read(self) -> Exception | None:
        """Read the changes since the last read. Returns the error, which each waiter gets."""
        began, writes = self._clock(), self.writes
        try:
            changes = await self._store.recent(self._last)
        except Exception as error:
            self._last, self._is_current_until = None, 0.0
            self._forget(None)
            return error
        self._last, self._writes = changes, writes
        self._is_current_until = began + freshness.MAX_AGE_SECONDS
        self._forget(changes.token_ids)
        return None

    def _forget(self, token_ids: Sequence[int] | None) -> None:
        for forget in self._caches:
            forget(token_ids)
