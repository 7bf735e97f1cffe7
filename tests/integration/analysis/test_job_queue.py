"""The job queue on PostgreSQL: no job has two workers at once, and none is forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from services.analysis.decisions import Postpone
from services.analysis.jobs import AttemptOutcome, State
from services.analysis.store import JobQueue, JobStore
from services.analysis.store import settlements as settlement_of
from services.runtime.database import Database
from tests.integration.analysis.jobs import (
    ANSWERED_503,
    LONG,
    NOW,
    RECORDING,
    REFUSAL,
    SILENCE,
    WORKER,
    claimed,
    claims_of,
    dispatched,
    extended,
    opened,
    queued,
    settled,
)
from tests.integration.plans import statements_of


async def history(store: JobStore, job_id: UUID) -> list[tuple[int, AttemptOutcome]]:
    analysis = await store.get_analysis(job_id)
    return [(attempt.number, attempt.outcome) for attempt in analysis.attempts]


async def pass_deadlines(database: Database) -> None:
    """The deadlines of all jobs are over."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE analysis.jobs SET deadline = now()"))


async def test_workers_share_the_due_jobs(store: JobStore, queue: JobQueue) -> None:
    jobs = {await queued(store) for _ in range(20)}
    claims = await asyncio.gather(
        *(claims_of(queue, State.QUEUED, 5, f"worker:{n}", LONG) for n in range(4))
    )
    claimed_ids = [claim.job_id for of_worker in claims for claim in of_worker]
    assert len(claimed_ids) == len(set(claimed_ids))
    rest = await claims_of(queue, State.QUEUED, 20, WORKER, LONG)
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
    assert len(await claims_of(queue, State.QUEUED, 3, WORKER, LONG)) == 3


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
    assert not await settled(queue, settlement_of.failed(stale, REFUSAL))
    assert not await settled(queue, settlement_of.accepted(stale, LONG, None, LONG))
    assert not await settled(queue, settlement_of.completed(stale, b"", ""))
    assert not await settled(queue, settlement_of.postponed(stale, ANSWERED_503))
    assert not await extended(queue, stale, NOW)
    assert await claims_of(queue, State.QUEUED, 1, WORKER, LONG) == []
    assert await settled(queue, settlement_of.accepted(current, LONG, None, LONG))
    assert (await store.get(job_id)).state is State.DISPATCHED
    assert await history(store, job_id) == [
        (1, AttemptOutcome.LOST),
        (2, AttemptOutcome.ACCEPTED),
    ]


async def test_a_claim_is_settled_once(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    claim = await claimed(queue)
    assert await settled(queue, settlement_of.postponed(claim, ANSWERED_503))
    assert not await settled(
        queue, settlement_of.postponed(claim, Postpone(LONG, is_counted=True, error=""))
    )
    assert (await claimed(queue)).dispatches == 2


async def test_an_extended_lease_keeps_the_job_claimed(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    claim = await claimed(queue, NOW)
    assert await extended(queue, claim, LONG)
    assert await claims_of(queue, State.QUEUED, 1, WORKER, LONG) == []


async def test_extending_a_lease_does_not_revive_a_job_that_has_ended(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    claim = await claimed(queue)
    await store.complete(job_id, b"", "")
    await extended(queue, claim, NOW)
    assert await claims_of(queue, State.QUEUED, 1, WORKER, LONG) == []


async def test_a_postponed_job_is_due_after_its_pause(store: JobStore, queue: JobQueue) -> None:
    await queued(store)
    await settled(
        queue,
        settlement_of.postponed(await claimed(queue), Postpone(LONG, is_counted=True, error="")),
    )
    assert await claims_of(queue, State.QUEUED, 1, WORKER, LONG) == []
    _, seconds = await queue.claim_due(1, 1, WORKER, LONG)
    assert seconds is not None
    assert 0 < seconds <= LONG.total_seconds()


async def test_a_dispatch_that_is_not_counted_still_gets_a_number(
    store: JobStore, queue: JobQueue
) -> None:
    await queued(store)
    not_counted = Postpone(NOW, is_counted=False, error="ConnectError")
    await settled(queue, settlement_of.postponed(await claimed(queue), not_counted))
    claim = await claimed(queue)
    assert (claim.dispatches, claim.counted_attempts) == (2, 1)


async def test_the_history_has_a_dispatch_even_if_the_report_came_first(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    claim = await claimed(queue)
    await store.complete(job_id, b"", "")
    assert await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))
    assert (await store.get(job_id)).state is State.COMPLETED
    assert await history(store, job_id) == [(1, AttemptOutcome.ACCEPTED)]


async def test_a_failure_ends_the_job_with_its_reason(store: JobStore, queue: JobQueue) -> None:
    job_id = await queued(store)
    assert await settled(queue, settlement_of.failed(await claimed(queue), REFUSAL))
    analysis = await store.get_analysis(job_id)
    assert (analysis.job.state, analysis.job.failure_reason) == (State.FAILED, REFUSAL.reason)
    (attempt,) = analysis.attempts
    assert (attempt.outcome, attempt.error) == (AttemptOutcome.REFUSED, "answered 400")


async def test_a_dispatched_job_is_due_at_its_deadline(store: JobStore, queue: JobQueue) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    assert (claim.job_id, claim.deadline_passed, claim.dispatches) == (job_id, True, 1)


async def test_a_job_with_a_status_url_is_due_before_its_deadline(
    store: JobStore, queue: JobQueue
) -> None:
    await dispatched(store, queue, LONG, "http://server/1", NOW)
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    assert (claim.status_url, claim.deadline_passed) == ("http://server/1", False)
    await settled(queue, settlement_of.waiting(claim, NOW))
    assert len(await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)) == 1


async def test_a_silent_job_is_dispatched_again_without_losing_progress(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    assert await settled(queue, settlement_of.redispatched(claim, LONG))
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
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    assert await settled(queue, settlement_of.failed(claim, SILENCE))
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
    store: JobStore, queue: JobQueue, database: Database
) -> None:
    job_id = await queued(store)
    await claimed(queue, NOW)
    await pass_deadlines(database)
    assert await queue.time_out(10) == 1
    assert await history(store, job_id) == [(1, AttemptOutcome.LOST)]


async def test_a_job_is_not_dispatched_after_its_deadline(
    store: JobStore, queue: JobQueue, database: Database
) -> None:
    await queued(store)
    await pass_deadlines(database)
    claims, seconds_until_due = await queue.claim_due(1, 1, WORKER, LONG)
    # Not due for a worker either, or it would claim again and again until the job times out.
    assert (claims, seconds_until_due) == ([], None)


async def test_a_pass_claims_queued_and_dispatched_jobs(store: JobStore, queue: JobQueue) -> None:
    waiting = await dispatched(store, queue, NOW)
    due = [await queued(store) for _ in range(3)]
    claims, _ = await queue.claim_due(2, 4, WORKER, LONG)
    assert [claim.state for claim in claims].count(State.QUEUED) == 2
    assert {claim.job_id for claim in claims} - {*due} == {waiting}


@pytest.mark.parametrize(
    ("dispatches", "limit", "claimed_states"),
    [
        (0, 0, []),
        (0, 2, [State.DISPATCHED]),
        (1, 1, [State.QUEUED]),
        (2, 3, [State.DISPATCHED, State.QUEUED, State.QUEUED]),
    ],
)
async def test_a_pass_keeps_to_both_limits(
    store: JobStore, queue: JobQueue, dispatches: int, limit: int, claimed_states: list[State]
) -> None:
    await dispatched(store, queue, NOW)
    for _ in range(3):
        await queued(store)
    claims, _ = await queue.claim_due(dispatches, limit, WORKER, LONG)
    assert sorted(claim.state for claim in claims) == claimed_states


async def test_a_pass_tells_when_the_next_job_is_due(store: JobStore, queue: JobQueue) -> None:
    assert await queue.claim_due(1, 1, WORKER, LONG) == ([], None)
    await queued(store)
    (claim,), seconds = await queue.claim_due(1, 1, WORKER, LONG)
    assert seconds is None
    await settled(
        queue,
        settlement_of.postponed(claim, Postpone(timedelta(minutes=1), is_counted=True, error="")),
    )
    claims, seconds = await queue.claim_due(1, 1, WORKER, LONG)
    assert claims == []
    assert seconds is not None
    assert 0 < seconds <= 60


async def test_a_pass_is_one_statement(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    await dispatched(store, queue, NOW)
    await queued(store)
    assert len(await statements_of(database, queue.claim_due(1, 2, WORKER, LONG))) == 1


async def test_settlements_of_every_kind_go_in_one_statement(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    accepted, waited, silent = [await dispatched(store, queue, NOW) for _ in range(3)]
    checks = {
        claim.job_id: claim for claim in await claims_of(queue, State.DISPATCHED, 3, WORKER, LONG)
    }
    for _ in range(4):
        await queued(store)
    dispatches = await claims_of(queue, State.QUEUED, 4, WORKER, LONG)
    settlements = [
        settlement_of.accepted(dispatches[0], LONG, "http://status", LONG),
        settlement_of.completed(dispatches[1], b"result", "2"),
        settlement_of.failed(dispatches[2], REFUSAL),
        settlement_of.postponed(dispatches[3], ANSWERED_503),
        settlement_of.waiting(checks[waited], LONG),
        settlement_of.redispatched(checks[silent], LONG),
        settlement_of.completed(checks[accepted], b"late", "2"),
    ]
    settled = []

    async def settle() -> None:
        settled.extend(await queue.settle_many(settlements))

    assert len(await statements_of(database, settle())) == 1
    assert settled == [True] * 7
    found = {
        job.job_id: job for job in await store.get_many(each.claim.job_id for each in settlements)
    }
    states = [found[each.claim.job_id].state for each in settlements]
    assert states == [
        *(State.DISPATCHED, State.COMPLETED, State.FAILED, State.QUEUED),
        *(State.DISPATCHED, State.QUEUED, State.COMPLETED),
    ]
    assert found[accepted].result == b"late"


async def test_each_settlement_of_a_batch_is_fenced_by_itself(
    store: JobStore, queue: JobQueue
) -> None:
    for _ in range(3):
        await queued(store)
    claims = {claim.job_id: claim for claim in await claims_of(queue, State.QUEUED, 3, WORKER, NOW)}
    current = await claimed(queue)
    lost = claims[current.job_id]
    ended, held = [claim for claim in claims.values() if claim is not lost]
    await store.complete(ended.job_id, b"reported", "1")
    batch = [settlement_of.accepted(claim, LONG, None, LONG) for claim in (lost, ended, held)]
    assert await queue.settle_many(batch) == [False, True, True]
    found = {job.job_id: job.state for job in await store.get_many(claims)}
    assert found == {
        lost.job_id: State.QUEUED,
        ended.job_id: State.COMPLETED,
        held.job_id: State.DISPATCHED,
    }
    assert await history(store, ended.job_id) == [(1, AttemptOutcome.ACCEPTED)]


async def test_leases_are_extended_together(store: JobStore, queue: JobQueue) -> None:
    for _ in range(3):
        await queued(store)
    claims = await claims_of(queue, State.QUEUED, 3, WORKER, NOW)
    (current,) = await claims_of(queue, State.QUEUED, 1, WORKER, LONG)
    held = await queue.extend_leases(claims, LONG)
    assert held == [claim.job_id != current.job_id for claim in claims]
    assert await claims_of(queue, State.QUEUED, 3, WORKER, LONG) == []
