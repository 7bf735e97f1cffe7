"""Jobs brought into a state, by the calls that bring real ones there."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from services.analysis.jobs import Claim, Recording, State
from services.analysis.store import JobQueue, JobStore

LONG = timedelta(hours=1)
NOW = timedelta(0)
RECORDING = Recording("recordings/1/x", 3, "audio/wav", bytes(32), "take.wav")
WORKER = "test:1"


async def opened(store: JobStore, timeout: timedelta = LONG) -> UUID:
    """A job that waits for its recording."""
    job_id = uuid7()
    await store.open(job_id, 1, timeout)
    return job_id


async def queued(store: JobStore, recording: Recording = RECORDING) -> UUID:
    """A job that is due for dispatch."""
    job_id = await opened(store)
    assert (await store.attach(job_id, recording, 1, LONG, None)).after is State.QUEUED
    return job_id


async def claimed(queue: JobQueue, lease: timedelta = LONG) -> Claim:
    """The one job that is due for dispatch, claimed."""
    (claim,) = await queue.claim(State.QUEUED, 1, WORKER, lease)
    return claim


async def dispatched(
    store: JobStore,
    queue: JobQueue,
    timeout: timedelta = LONG,
    status_url: str | None = None,
    poll: timedelta = LONG,
) -> UUID:
    """A job that the analysis server has accepted."""
    job_id = await queued(store)
    claim = await claimed(queue)
    assert claim.job_id == job_id
    assert await queue.accept_dispatch(claim, timeout, status_url, poll)
    return job_id
