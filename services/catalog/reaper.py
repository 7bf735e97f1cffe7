"""Forgetting what nobody needs any more, now and then."""

from __future__ import annotations

import asyncio
import random

import structlog

from services.catalog.store import ChangeStore
from services.runtime.errors import DatabaseUnavailable

INTERVAL_SECONDS = 3600.0

_logger = structlog.get_logger(__name__)


class ChangeReaper:
    """Sweeps once an hour, replicas at different times."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self._store.sweep()
            except DatabaseUnavailable:
                _logger.warning("sweep put off")
