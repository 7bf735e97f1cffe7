"""Settling the claims of a worker together: one statement for all that end within moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from services.analysis.store import JobQueue, Settlement
from services.runtime.errors import DatabaseUnavailable

MAX_BATCH = 64
WINDOW_SECONDS = 0.002
"""How long a settlement waits for others, if other jobs are under way."""

_logger = structlog.get_logger(__name__)


class Settler:
    """Collects settlements and writes them in batches."""

    def __init__(self, queue: JobQueue, may_follow: Callable[[], bool] = lambda: True) -> None:
        """may_follow: whether further settlements are expected soon; if not, none is delayed."""
        self._queue = queue
        self._may_follow = may_follow
        self._batch: dict[UUID, tuple[Settlement, asyncio.Future[bool]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()

    async def settle(self, settlement: Settlement) -> bool:
        """Write a settlement; False, and nothing changes, when the claim is no longer held.

        Errors: DatabaseUnavailable.
        """
        loop = asyncio.get_running_loop()
        job_id = settlement.claim.job_id
        if job_id in self._batch:
            # An earlier claim of the same job, which was lost: a batch has each job once.
            self._write_batch()
        written: asyncio.Future[bool] = loop.create_future()
        self._batch[job_id] = (settlement, written)
        if len(self._batch) >= MAX_BATCH:
            self._write_batch()
        elif self._timer is None:
            delay = WINDOW_SECONDS if self._may_follow() else 0.0
            self._timer = loop.call_later(delay, self._write_batch)
        return await written

    def _write_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch = list(self._batch.values()), {}
        if batch:
            task = asyncio.create_task(self._write(batch))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, batch: list[tuple[Settlement, asyncio.Future[bool]]]) -> None:
        try:
            held = await self._queue.settle_many([settlement for settlement, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, DatabaseUnavailable):
                for _, written in batch:
                    _fail(written, error)
                return
            # The error of one settlement must not concern the others.
            _logger.warning("settling one by one", jobs=len(batch), exc_info=error)
            for each in batch:
                await self._write([each])
            return
        for (_, written), is_held in zip(batch, held, strict=True):
            if not written.done():
                written.set_result(is_held)


def _fail(written: asyncio.Future[bool], error: Exception) -> None:
    # The worker may have cancelled the job meanwhile.
    if not written.done():
        written.set_exception(error)
