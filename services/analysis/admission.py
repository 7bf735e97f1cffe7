"""Admission of recordings: dispatch has its share of a process that also accepts recordings.

Callers send the next recording as soon as the last one is answered. Without a limit the
event loop would spend nearly all its time on new jobs, and those accepted would wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MAX_ADMITTED = 4
MAX_ADMITTED_WHEN_BUSY = 1


class Admission:
    """Admits a bounded number of calls at the same time, first come, first served."""

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        """is_busy: whether this process has as many dispatches under way as it may have."""
        self._is_busy = is_busy
        self._admitted = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait until the call is admitted; its place is free again when the block ends."""
        if self._waiting or not self._has_room():
            await self._turn()
        else:
            self._admitted += 1
        try:
            yield
        finally:
            self._leave()

    def _has_room(self) -> bool:
        limit = MAX_ADMITTED_WHEN_BUSY if self._is_busy() else MAX_ADMITTED
        return self._admitted < limit

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        self._admitted -= 1
        while self._waiting and self._has_room():
            self._admitted += 1
            self._waiting.popleft().set_result(None)
