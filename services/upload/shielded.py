"""Work that runs to its end even when the call that needs it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ShieldedTasks:
    """Runs work in tasks of its own, which it keeps until they end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work without waiting for it; only tasks that await it get its error."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work; it continues if the caller is cancelled meanwhile."""
        return await asyncio.shield(self.start(work))

    async def done(self) -> None:
        """Wait until all work has ended, however it ends."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Without this, asyncio logs an error that no task has awaited.
            task.exception()
