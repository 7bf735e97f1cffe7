"""Views of tokens, counted in memory and added to the stored counts in batches."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog
from cachetools import TTLCache

from services.catalog.store import TokenStore
from services.runtime.errors import DatabaseUnavailable

KNOWN_TOKENS = 100_000
KNOWN_SECONDS = 60

_logger = structlog.get_logger(__name__)


class ViewCounter:
    """Counts views; `run` beside the server stores them."""

    def __init__(self, store: TokenStore, interval_seconds: float) -> None:
        """Make a counter.

        interval_seconds: how long views are counted before they are stored.
        """
        self._store = store
        self._interval = interval_seconds
        self._views: Counter[int] = Counter()
        self._known: TTLCache[int, bool] = TTLCache(KNOWN_TOKENS, KNOWN_SECONDS)
        self._storing = asyncio.Lock()

    async def record(self, token_id: int) -> None:
        """Count a view. Errors: TokenNotFound."""
        if token_id not in self._known:
            await self._store.get(token_id)
            self._known[token_id] = True
        self._views[token_id] += 1

    async def run(self) -> None:
        """Store what was counted, again and again; when cancelled, what is left."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                # Whether a cancelled statement has counted can't be known.
                await asyncio.shield(self._store_views())
        finally:
            await self._store_views()

    async def _store_views(self) -> None:
        async with self._storing:
            views, self._views = self._views, Counter()
            if not views:
                return
            try:
                await self._store.add_views(views)
            except DatabaseUnavailable:
                self._views += views
                _logger.warning("views not stored yet", tokens=len(self._views))
