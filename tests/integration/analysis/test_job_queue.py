"""The job queue on PostgreSQL: no job has two workers at once, and none is forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.analysis.decisions import Postpone
from services.analysis.jobs import AttemptOutcome, State
from services.analysis.store import JobQueue, JobStore
from tests.integration.analysis.jobs import (
    ANSWERED_503,
    LONG,
    NOW,
    RECORDING,
    REFUSAL,
    SILENCE,
    WORKER,
    claimed,
    dispatched,
    opened,
    queued,
)


async def history(store: JobStore, job_id: UUID) -> list[tuple[int, AttemptOutcome]]:
    analysis = await store.get_analysis(job_id)
    return [(attempt.number, attempt.outcome) for attempt in analysis.attempts]


async def test_workers_share_the_due_jobs(store: JobStore, queue: JobQueue) -> None:
    jobs = {await queued(store) for _ in range(20)}
    claims = await asyncio.gather(
        *(queue.claim(State.QUEUED, 5, f"worker:{n}", LONG) for n in range(4))
    )
    claimed_ids = [claim.job_id for of_worker in claims for claim in of_worker]
    assert len(claimed_ids) == len(set(claimed_ids))
    rest = await queue.claim(State.QUEUED, 20, WORKER, LONG)
    assert {*claimed_ids, *(claim.job_id for claim in rest)} == jobs


async def test_jobs_count_as_due_until_they_are_claimed(store: JobStore, queue: JobQueue) -> None:
    assert await queue.due() == (0, 0)
    for _ in range(3):
        await queued(store)
    await claimed(queue)
    jobs, oldest_seconds = await queue.due()
    assert jobs == 2
    assert 0 < oldest_seconds < 60


async def test_a_claim_keeps_to_its_limit(store: JobStore, queue: JobQueue) -> None:
    for _ in range(5):
        await queued(store)
    assert len(await queue.claim(State.QUEUED, 3, WORKER, LONG)) == 3


async def test_a_job_whose_worker_died_is_due_again(store: JobStore, queue: JobQueue) -> None:
    job_id = await queued(store)
    first = await claimed(queue, NOW)
    second = await claimed(queue)
    assert (first.job_id, first.dispatches, first.counted_attempts) == (job_id, 1, 1)
    assert (second.job_id, second.dispatches, second.counted_attempts) == (job_id, 2, 2)
    assert await history(store, job_id) == [(1, AttemptOutcome.LOST)]


async def test_a_worker_that_lost_its_lease_changes_nothing(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    stale = await claimed(queue, NOW)
    current = await claimed(queue)
    assert not await queue.fail(stale, REFUSAL)
    assert not await queue.await_report(stale, LONG, None, LONG)
    assert not await queue.complete(stale, b"", "")
    assert not await queue.postpone(stale, ANSWERED_503)
    assert not await queue.extend_lease(stale, NOW)
    assert await queue.claim(State.QUEUED, 1, WORKER, LONG) == []
    assert await queue.await_report(current, LONG, None, LONG)
    assert (await store.get(job_id)).state is State.DISPATCHED
    assert await history(store, job_id) == [
        (1, AttemptOutcome.LOST),
        (2, AttemptOutcome.ACCEPTED),
    ]


async def test_a_claim_is_settled_once(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    claim = await claimed(queue)
    assert await queue.postpone(claim, ANSWERED_503)
    assert not await queue.postpone(claim, Postpone(LONG, is_counted=True, error=""))
    assert (await claimed(queue)).dispatches == 2


async def test_an_extended_lease_keeps_the_job_claimed(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    claim = await claimed(queue, NOW)
    assert await queue.extend_lease(claim, LONG)
    assert await queue.claim(State.QUEUED, 1, WORKER, LONG) == []


async def test_extending_a_lease_does_not_revive_a_job_that_has_ended(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    claim = await claimed(queue)
    await store.complete(job_id, b"", "")
    await queue.extend_lease(claim, NOW)
    assert await queue.claim(State.QUEUED, 1, WORKER, LONG) == []


async def test_a_postponed_job_is_due_after_its_pause(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    await queue.postpone(await claimed(queue), Postpone(LONG, is_counted=True, error=""))
    assert await queue.claim(State.QUEUED, 1, WORKER, LONG) == []
    seconds = await queue.seconds_until_due([State.QUEUED])
    assert seconds is not None
    assert 0 < seconds <= LONG.total_seconds()


async def test_a_dispatch_that_is_not_counted_still_gets_a_number(
    store: JobStore, queue: JobQueue
) -> None:
    await queued(store)
    not_counted = Postpone(NOW, is_counted=False, error="ConnectError")
    await queue.postpone(await claimed(queue), not_counted)
    claim = await claimed(queue)
    assert (claim.dispatches, claim.counted_attempts) == (2, 1)


async def test_the_history_has_a_dispatch_even_if_the_report_came_first(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    claim = await claimed(queue)
    await store.complete(job_id, b"", "")
    assert await queue.await_report(claim, LONG, None, LONG)
    assert (await store.get(job_id)).state is State.COMPLETED
    assert await history(store, job_id) == [(1, AttemptOutcome.ACCEPTED)]


async def test_a_failure_ends_the_job_with_its_reason(store: JobStore, queue: JobQueue) -> None:
    job_id = await queued(store)
    assert await queue.fail(await claimed(queue), REFUSAL)
    analysis = await store.get_analysis(job_id)
    assert (analysis.job.state, analysis.job.failure_reason) == (State.FAILED, REFUSAL.reason)
    (attempt,) = analysis.attempts
    assert (attempt.outcome, attempt.error) == (AttemptOutcome.REFUSED, "answered 400")


async def test_a_dispatched_job_is_due_at_its_deadline(store: JobStore, queue: JobQueue) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await queue.claim(State.DISPATCHED, 1, WORKER, LONG)
    assert (claim.job_id, claim.deadline_passed, claim.dispatches) == (job_id, True, 1)


async def test_a_job_with_a_status_url_is_due_before_its_deadline(
    store: JobStore, queue: JobQueue
) -> None:
    await dispatched(store, queue, LONG, "http://server/1", NOW)
    (claim,) = await queue.claim(State.DISPATCHED, 1, WORKER, LONG)
    assert (claim.status_url, claim.deadline_passed) == ("http://server/1", False)
    await queue.keep_waiting(claim, NOW)
    assert len(await queue.claim(State.DISPATCHED, 1, WORKER, LONG)) == 1


async def test_a_silent_job_is_dispatched_again_without_losing_progress(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await queue.claim(State.DISPATCHED, 1, WORKER, LONG)
    assert await queue.redispatch(claim, LONG)
    job = await store.get(job_id)
    assert (job.state, job.progress) == (State.QUEUED, 90)
    again = await claimed(queue)
    assert (again.dispatches, again.silences) == (2, 1)
    assert await history(store, job_id) == [
        (1, AttemptOutcome.ACCEPTED),
        (1, AttemptOutcome.SILENT),
    ]


async def test_a_job_that_is_silent_too_often_fails(store: JobStore, queue: JobQueue) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await queue.claim(State.DISPATCHED, 1, WORKER, LONG)
    assert await queue.fail(claim, SILENCE)
    job = await store.get(job_id)
    assert (job.state, job.progress, job.failure_reason) == (
        State.FAILED,
        90,
        "ANALYSIS_TIMED_OUT",
    )


@pytest.mark.parametrize("is_started", [False, True])
async def test_a_job_whose_recording_never_arrives_times_out(
    store: JobStore, queue: JobQueue, is_started: bool
) -> None:
    job_id = await opened(store, NOW)
    if is_started:
        await store.start_upload(job_id, NOW)
    assert await queue.time_out(10) == 1
    job = await store.get(job_id)
    assert (job.state, job.failure_reason) == (State.FAILED, "UPLOAD_TIMED_OUT")


async def test_a_heartbeat_keeps_an_upload_from_timing_out(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await opened(store, NOW)
    await store.start_upload(job_id, LONG)
    assert await queue.time_out(10) == 0
    assert (await store.get(job_id)).state is State.UPLOADING


async def test_a_job_that_is_never_accepted_times_out(store: JobStore, queue: JobQueue) -> None:
    job_id = await opened(store)
    await store.attach_recording(job_id, RECORDING, 1, NOW, None)
    assert await queue.time_out(10) == 1
    job = await store.get(job_id)
    assert (job.state, job.failure_reason) == (State.FAILED, "ANALYSIS_SERVER_UNAVAILABLE")


async def test_the_history_has_a_dispatch_that_was_lost_before_the_deadline(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await opened(store)
    await store.attach_recording(job_id, RECORDING, 1, timedelta(milliseconds=50), None)
    await claimed(queue, NOW)
    async with asyncio.timeout(10):
        while not await queue.time_out(10):
            pass
    assert await history(store, job_id) == [(1, AttemptOutcome.LOST)]


async def test_the_next_due_time_is_that_of_the_wanted_states(
    store: JobStore, queue: JobQueue
) -> None:
    await opened(store, timedelta(minutes=1))
    seconds = await queue.seconds_until_due([State.OPENED])
    assert seconds is not None
    assert 0 < seconds <= 60
    assert await queue.seconds_until_due([State.QUEUED, State.DISPATCHED]) is None
