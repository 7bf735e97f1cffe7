"""Counts the views of tokens in memory and adds them to the stored counts in batches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import structlog
from cachetools import TTLCache

from services.catalog.store import TokenStore
from services.runtime.periodic import PeriodicTask

KNOWN_TOKENS = 100_000
KNOWN_SECONDS = 60

_logger = structlog.get_logger(__name__)


class ViewCounter:
    """Counts views. `run` stores the counts."""

    def __init__(self, store: TokenStore, interval_seconds: float) -> None:
        """Create a counter.

        interval_seconds: the time between two writes of the counts.
        """
        self._store = store
        self._task = PeriodicTask("view counter", self._flush_to_end, interval_seconds)
        self._views: Counter[int] = Counter()
        self._known: TTLCache[int, bool] = TTLCache(KNOWN_TOKENS, KNOWN_SECONDS)
        self._flushing = asyncio.Lock()
        self._stored: Callable[[Iterable[int]], None] = _ignore

    def on_stored(self, stored: Callable[[Iterable[int]], None]) -> None:
        """Set the function that gets the ids of the tokens whose counts were stored."""
        self._stored = stored

    async def record(self, token_id: int) -> None:
        """Count a view. Errors: TokenNotFound."""
        if token_id not in self._known:
            await self._store.get(token_id)
            self._known[token_id] = True
        self._views[token_id] += 1

    async def run(self) -> None:
        """Store the counts periodically until cancelled, then store the remaining ones."""
        try:
            await self._task.run()
        finally:
            await self._flush_at_shutdown()

    async def flush(self) -> None:
        """Store the counts. After an error they remain in memory for the next flush."""
        async with self._flushing:
            views, self._views = self._views, Counter()
            if not views:
                return
            try:
                await self._store.add_views(views)
            except Exception:
                self._views += views
                raise
            self._stored(views)

    async def _flush_to_end(self) -> None:
        # If a statement is cancelled, PostgreSQL may or may not have counted the views.
        await asyncio.shield(self.flush())

    async def _flush_at_shutdown(self) -> None:
        try:
            await self.flush()
        except Exception:
            _logger.exception("views lost at shutdown", views=self._views.total())


def _ignore(_: Iterable[int]) -> None:
    return
