"""The bytes that do not fill a part yet. No I/O.

    [ parts, in S3 ][ tail, in S3 | content, in memory | room ]
                    '------------- part_bytes ---------------'

The part that is being filled consists of the tail objects followed by the content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.upload.chunks import Chunk, Chunks
from services.upload.memory_budget import MemoryBudget
from services.upload.models import TailObject

UNCOUNTED_BYTES = 64 * 1024
"""What each upload may hold without the budget, so that thousands of slow ones need little."""

BORROW_BYTES = 1024**2
"""The smallest amount that is borrowed from the budget."""

PATIENCE_SECONDS = 0.5
"""How long an upload may wait for memory while it holds some."""


@dataclass(frozen=True)
class FullPart:
    """The content of a part, and the memory that is borrowed for it."""

    content: Chunks
    borrowed: int


class PartBuffer:
    """Collects the bytes of the next part, in memory of the shared budget."""

    def __init__(self, part_bytes: int, tail: Sequence[TailObject], budget: MemoryBudget) -> None:
        self._part_bytes = part_bytes
        self._budget = budget
        self._borrowed = 0
        self.tail = tuple(tail)
        self.content = Chunks()

    @property
    def tail_size(self) -> int:
        """Bytes in tail objects."""
        return sum(each.size for each in self.tail)

    @property
    def room(self) -> int:
        """Bytes until the part is full."""
        return self._part_bytes - self.tail_size - len(self.content)

    def try_reserve(self, size: int) -> bool:
        """Have memory for more content; False when the budget is exhausted."""
        step = self._missing(size)
        if not self._budget.try_acquire(step):
            return False
        self._borrowed += step
        return True

    async def reserve_soon(self, size: int) -> bool:
        """As `try_reserve`, but wait up to PATIENCE_SECONDS for memory."""
        step = self._missing(size)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._budget.acquire(step)
        except TimeoutError:
            return False
        self._borrowed += step
        return True

    def _missing(self, size: int) -> int:
        """How much to borrow for more content."""
        needed = len(self.content) + size
        if needed <= max(self._borrowed, UNCOUNTED_BYTES):
            return 0
        return max(needed - self._borrowed, BORROW_BYTES)

    async def reserve(self, size: int) -> None:
        """Wait for memory, however long. The content must be empty: see MemoryBudget."""
        if self.content:
            raise RuntimeError("an upload that waits for memory must hold none")
        self.release()
        step = max(size, BORROW_BYTES)
        await self._budget.acquire(step)
        self._borrowed += step

    def try_reserve_tail(self) -> bool:
        """Have memory for the content of the tail; False when the budget is exhausted."""
        size = self.tail_size
        if not self._budget.try_acquire(size):
            return False
        self._borrowed += size
        return True

    async def reserve_tail(self) -> None:
        """Wait for memory for the content of the tail; as `reserve`."""
        await self.reserve(self.tail_size)

    def append(self, content: Chunk) -> None:
        """Add content, for which memory was reserved."""
        self.content.append(content)

    def prepend_tail(self, content: Chunks) -> tuple[TailObject, ...]:
        """Put the content of the tail objects first; returns them: they are obsolete."""
        content.extend(self.content)
        self.content = content
        obsolete, self.tail = self.tail, ()
        return obsolete

    def moved_to_tail(self, tail_object: TailObject) -> None:
        """Note that the content is in a tail object now, and release its memory."""
        self.tail = (*self.tail, tail_object)
        self.content = Chunks()
        self.release()

    def take_part(self) -> FullPart:
        """Empty the buffer; the caller releases the part's memory with `release_part`."""
        part = FullPart(self.content, self._borrowed)
        self.content, self._borrowed = Chunks(), 0
        return part

    def release_part(self, part: FullPart) -> None:
        """Return the memory of a part."""
        self._budget.release(part.borrowed)

    def release(self) -> None:
        """Return the memory of the buffer."""
        self._budget.release(self._borrowed)
        self._borrowed = 0
