"""Clean-ups that run to their end even when the call that needs them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

from services.upload.shielded import ShieldedTasks

DRAIN_SECONDS = 10.0
"""How long a process that shuts down waits for clean-ups."""


class CleanUpTasks:
    """The running clean-ups of this process, and the calls that may start some."""

    def __init__(self) -> None:
        self._tasks = ShieldedTasks()
        self._calls = 0
        self._no_calls = asyncio.Event()
        self._no_calls.set()

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Mark a call that cleans up when it ends, also when it is cancelled."""
        self._calls += 1
        self._no_calls.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._no_calls.set()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Run a clean-up to its end, even if the caller is cancelled meanwhile."""
        await self._tasks.run(work)

    async def drain(self) -> None:
        """Wait, up to DRAIN_SECONDS, for all clean-ups and for the calls that may start some."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._no_calls.wait()
                await self._tasks.done()
