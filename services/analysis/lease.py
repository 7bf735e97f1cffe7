"""Holding the leases of claimed jobs while a worker works on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from services.analysis.jobs import Claim
from services.analysis.store import JobQueue
from services.runtime.errors import DatabaseUnavailable

LEASE = timedelta(seconds=10)
"""How long after a worker's death its jobs are due again."""

RENEWAL_SECONDS = 3.0

_logger = structlog.get_logger(__name__)


class Leases:
    """The leases that a worker holds, all renewed in one statement."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._held: dict[UUID, tuple[Claim, asyncio.Task[Any] | None]] = {}
        self._new: set[UUID] = set()

    @contextmanager
    def held(self, claim: Claim) -> Iterator[None]:
        """Hold the lease of a claim until the block ends.

        Cancels the current task when another worker has claimed the job.
        """
        token = claim.lease_token
        self._held[token] = (claim, asyncio.current_task())
        self._new.add(token)
        try:
            yield
        finally:
            self._held.pop(token, None)
            self._new.discard(token)

    async def run(self) -> None:
        """Renew the leases until cancelled."""
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            await self.renew()

    async def renew(self) -> None:
        """Renew the leases that were held at the last renewal; newer ones last until the next."""
        due = [claim for token, (claim, _) in self._held.items() if token not in self._new]
        self._new.clear()
        if not due:
            return
        try:
            are_held = await self._queue.extend_leases(due, LEASE)
        except DatabaseUnavailable:
            # The leases may outlast the outage; if not, fencing stops this worker's writes.
            return
        for claim, is_held in zip(due, are_held, strict=True):
            if not is_held:
                self._lost(claim)

    def _lost(self, claim: Claim) -> None:
        _, holder = self._held.pop(claim.lease_token, (claim, None))
        if holder is not None:
            _logger.warning("lease lost", job_id=str(claim.job_id), dispatch=claim.dispatches)
            holder.cancel()
