"""The memory that all uploads of a process share."""

from __future__ import annotations

import asyncio
from collections import deque


class MemoryBudget:
    """So many bytes, lent in the order in which they are asked for.

    Who waits must hold nothing: then whoever holds something can always go on, and
    gives it back.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Bytes that nobody has."""
        return self._free

    def take_now(self, size: int) -> bool:
        """Take so many bytes, if they are free and nobody waits for any."""
        if self._waiting or size > self._free:
            return False
        self._free -= size
        return True

    async def take(self, size: int) -> None:
        """Wait for so many bytes, at most all there are."""
        if size > self._total:
            raise ValueError(f"{size} bytes of {self._total} will never be free")
        if self.take_now(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                self._waiting.remove((size, turn))
                self._serve()
            raise

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            self._free -= size
            turn.set_result(None)
