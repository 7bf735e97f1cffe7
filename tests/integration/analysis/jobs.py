"""Jobs in a certain state, brought there by the calls that bring real jobs there."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value
from uuid_utils.compat import uuid7

from services.analysis.decisions import Fail, Postpone
from services.analysis.jobs import AttemptOutcome, Claim, Event, Recording, State
from services.analysis.store import JobQueue, JobStore

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


async def claimed(queue: JobQueue, lease: timedelta = LONG) -> Claim:
    """The claim of the only job that is due for dispatch."""
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
    assert await queue.await_report(claim, timeout, status_url, poll)
    return job_id
