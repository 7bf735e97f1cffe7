"""Jobs in a certain state, brought there by the calls that bring real jobs there."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value
from uuid_utils.compat import uuid7

from services.analysis.decisions import Fail, Postpone
from services.analysis.jobs import AttemptOutcome, Claim, Event, Recording, State
from services.analysis.store import JobQueue, JobStore, Settlement
from services.analysis.store import settlements as settlement_of

LONG = timedelta(hours=1)
NOW = timedelta(0)
RECORDING = Recording("recordings/1/x", 3, "audio/wav", bytes(32), "take.wav")
RESULT = Struct(fields={"score": Value(number_value=1)}).SerializeToString()
WORKER = "test:1"

ANSWERED_503 = Postpone(NOW, is_counted=True, error="answered 503")
REFUSAL = Fail(
    Event.DISPATCH_FAILED, "ANALYSIS_SERVER_REFUSED", "", AttemptOutcome.REFUSED, "answered 400"
)
SILENCE = Fail(Event.REPORT_TIMED_OUT, "ANALYSIS_TIMED_OUT", "", AttemptOutcome.SILENT, "")


async def opened(store: JobStore, timeout: timedelta = LONG) -> UUID:
    """A job that waits for its recording."""
    job_id = uuid7()
    await store.create(job_id, 1, timeout)
    return job_id


async def queued(store: JobStore, recording: Recording = RECORDING) -> UUID:
    """A job that is due for dispatch."""
    job_id = await opened(store)
    transition = await store.attach_recording(job_id, recording, 1, LONG, None)
    assert transition.after is State.QUEUED
    return job_id


async def claims_of(
    queue: JobQueue, state: State, limit: int, worker: str, lease: timedelta
) -> list[Claim]:
    """Claim up to `limit` due jobs, queued or dispatched ones. No others may be due."""
    claims, _ = await queue.claim_due(limit if state is State.QUEUED else 0, limit, worker, lease)
    assert {claim.state for claim in claims} <= {state}
    return claims


async def settled(queue: JobQueue, settlement: Settlement) -> bool:
    """Settle one claim; whether it was held."""
    (was_held,) = await queue.settle_many([settlement])
    return was_held


async def extended(queue: JobQueue, claim: Claim, lease: timedelta) -> bool:
    """Extend one lease; whether it was held."""
    (was_held,) = await queue.extend_leases([claim], lease)
    return was_held


async def claimed(queue: JobQueue, lease: timedelta = LONG) -> Claim:
    """The claim of the only job that is due for dispatch."""
    (claim,) = await claims_of(queue, State.QUEUED, 1, WORKER, lease)
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
    assert await settled(queue, settlement_of.accepted(claim, timeout, status_url, poll))
    return job_id
