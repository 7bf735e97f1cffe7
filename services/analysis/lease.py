"""Holding the lease of a claimed job while a worker works on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from services.analysis.jobs import Claim
from services.analysis.store import JobQueue
from services.runtime.errors import DatabaseUnavailable
from services.runtime.periodic import keep_running

LEASE = timedelta(seconds=10)
"""How long after a worker's death its jobs are due again."""

RENEWAL_SECONDS = 3.0

_logger = structlog.get_logger(__name__)


@asynccontextmanager
async def held_lease(queue: JobQueue, claim: Claim) -> AsyncIterator[None]:
    """Renew the lease of a claim until the block ends.

    Cancels the current task when another worker has claimed the job.
    """
    renew = partial(_renew, queue, claim, asyncio.current_task())
    renewal = asyncio.create_task(keep_running("lease renewal", renew))
    try:
        yield
    finally:
        renewal.cancel()


async def _renew(queue: JobQueue, claim: Claim, holder: asyncio.Task[Any] | None) -> None:
    is_held = True
    while is_held:
        await asyncio.sleep(RENEWAL_SECONDS)
        # The lease may outlast the outage; if not, fencing stops this worker's writes.
        with suppress(DatabaseUnavailable):
            is_held = await queue.extend_lease(claim, LEASE)
    _logger.warning("lease lost", dispatch=claim.dispatches)
    if holder is not None:
        holder.cancel()
