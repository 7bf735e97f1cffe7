"""Clean-ups that run to their end, whatever becomes of the call that needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class CleanUps:
    """The clean-ups of this process that are under way."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Do this to the end, even if the call is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for all of them."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
