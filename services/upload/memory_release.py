"""Returns the memory of ended uploads to the system."""

from __future__ import annotations

import asyncio

from services.runtime.allocator import release_free_memory
from services.upload.memory_budget import MemoryBudget

INTERVAL_SECONDS = 5.0
FREED_BYTES = 8 * 1024**2
"""How much less memory uploads must use than before, so that a release is worth its time."""


class MemoryRelease:
    """Watches a budget, because the allocator keeps what uploads have freed."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._is_due = False

    async def run_once(self) -> None:
        """Release memory if uploads have freed some since the last run.

        A second run follows: when the first one starts, streams that have just ended may still
        hold messages.
        """
        freed = self._budget.take_peak() - self._budget.lent
        was_due, self._is_due = self._is_due, freed >= FREED_BYTES
        if was_due or self._is_due:
            await asyncio.to_thread(release_free_memory)
