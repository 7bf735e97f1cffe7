"""Batches: statements of concurrent calls are written together, in one round trip and commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import structlog

from services.runtime.errors import DatabaseUnavailable

PATIENCE_SECONDS = 0.1
"""How long a write that waits for a lock holds the next one back."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_logger = structlog.get_logger(__name__)


class Batches(Generic[Item, Answer]):
    """Writes what concurrent callers give it.

    A single item is written immediately. Those that come while a write is under way are the next
    batch, so batches grow with the load.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        key: Callable[[Item], Hashable],
        *,
        max_items: int,
        window_seconds: float,
    ) -> None:
        """Create batches.

        write: writes items, all or none, and returns an answer for each in the same order.
        key: items with the same key go into different batches. max_items: of a batch.
        window_seconds: the shortest time from the start of a write to the start of the next one.
        """
        self._write = write
        self._key = key
        self._max_items = max_items
        self._window_seconds = window_seconds
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._earliest = 0.0
        self._writes: set[asyncio.Task[None]] = set()

    async def run(self, item: Item) -> Answer:
        """Write an item; returns its answer.

        It may be written even if the caller is cancelled meanwhile. Errors: DatabaseUnavailable;
        those that the write raises for this item alone.
        """
        written: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        self._schedule()
        return await written

    def _schedule(self) -> None:
        if self._waiting and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._earliest, self._start)

    def _start(self) -> None:
        started = asyncio.get_running_loop().time()
        self._timer = None
        self._earliest = started + PATIENCE_SECONDS

        def ended(task: asyncio.Task[None]) -> None:
            self._writes.discard(task)
            self._earliest = started + self._window_seconds
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._schedule()

        task = asyncio.create_task(self._write_batch(self._next_batch()))
        self._writes.add(task)
        task.add_done_callback(ended)
        self._schedule()

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch: dict[Hashable, tuple[Item, asyncio.Future[Answer]]] = {}
        later = []
        for each in self._waiting:
            key = self._key(each[0])
            if key in batch or len(batch) == self._max_items:
                later.append(each)
            else:
                batch[key] = each
        self._waiting = later
        return list(batch.values())

    async def _write_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, DatabaseUnavailable):
                for _, written in batch:
                    _fail(written, error)
                return
            # The error of one item must not concern the others.
            _logger.warning("writing one by one", items=len(batch), exc_info=error)
            for each in batch:
                await self._write_batch([each])
            return
        for (_, written), answer in zip(batch, answers, strict=True):
            # The caller may have been cancelled meanwhile.
            if not written.done():
                written.set_result(answer)


def _fail(written: asyncio.Future[Answer], error: Exception) -> None:
    if not written.done():
        written.set_exception(error)
