"""Which tokens changed since they were cached, asked of PostgreSQL by all calls together."""

from __future__ import annotations

import asyncio

from services.catalog.store import ChangeStore, RecentChanges
from services.catalog.token_cache import TokenCache


class RecentChangesReader:
    """Removes the tokens from a cache that any process has changed.

    `catch_up` reads the changes that were committed before it was called. So an answer from
    the cache is never older than one that any replica gave before. One read serves all calls
    that wait for it to begin.
    """

    def __init__(self, store: ChangeStore, cache: TokenCache) -> None:
        self._store = store
        self._cache = cache
        self._last: RecentChanges | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._reading: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether changes from now on will be seen; the cache may be filled only then."""
        return self._last is not None

    async def catch_up(self) -> None:
        """Return when every change committed before this call has been removed from the cache.

        Errors: DatabaseUnavailable; the cache is then empty.
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
        try:
            changes = await self._store.recent(self._last)
        except Exception as error:
            self._last = None
            self._cache.clear()
            return error
        self._last = changes
        if changes.token_ids is None:
            self._cache.clear()
        else:
            self._cache.forget(changes.token_ids)
        return None
