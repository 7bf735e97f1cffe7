"""Clean-ups that run to their end, whatever becomes of the call that needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

PATIENCE_SECONDS = 10.0
"""How long the end of a process waits for them."""


class CleanUpTasks:
    """The clean-ups of this process that are under way, and the calls that may need some."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()
        self._calls = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @contextmanager
    def expected(self) -> Iterator[None]:
        """A call that cleans up in its end, also when it is cancelled."""
        self._calls += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._quiet.set()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Do this to the end, even if the call is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for all of them, and for the calls that may need some."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._quiet.wait()
                await asyncio.gather(*self._under_way, return_exceptions=True)
