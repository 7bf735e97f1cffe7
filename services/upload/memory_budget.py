"""The memory that all uploads of a process share."""

from __future__ import annotations

import asyncio
from collections import deque


class MemoryBudget:
    """A number of bytes, lent first come, first served.

    An upload that waits for memory must hold none, or give up soon: then each upload that holds
    memory can always continue, and releases it.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._least_free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Bytes that are not lent."""
        return self._free

    @property
    def lent(self) -> int:
        """Bytes that are lent."""
        return self._total - self._free

    def take_peak(self) -> int:
        """The most bytes that were lent at a time since the last call."""
        peak, self._least_free = self._total - self._least_free, self._free
        return peak

    def try_acquire(self, size: int) -> bool:
        """Borrow bytes if they are free and no other upload waits; False otherwise."""
        if size and (self._waiting or size > self._free):
            return False
        self._lend(size)
        return True

    async def acquire(self, size: int) -> None:
        """Borrow bytes, waiting until they are free; at most the total."""
        if size > self._total:
            raise ValueError(f"{size} bytes exceed the budget of {self._total}")
        if self.try_acquire(size):
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._serve_waiting()
            elif not turn.cancelled():
                # The bytes were lent before the cancellation arrived.
                self.release(size)
            raise

    def release(self, size: int) -> None:
        """Return borrowed bytes."""
        self._free += size
        self._serve_waiting()

    def _lend(self, size: int) -> None:
        self._free -= size
        self._least_free = min(self._least_free, self._free)

    def _serve_waiting(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif size <= self._free:
                self._waiting.popleft()
                self._lend(size)
                turn.set_result(None)
            else:
                return
