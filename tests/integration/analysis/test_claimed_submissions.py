"""Jobs that are created with their claim: one statement less, and the same promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.analysis.jobs import AttemptOutcome, Claim, State
from services.analysis.store import Claimant, JobQueue, JobStore, Reuse, Submission
from services.analysis.store import settlements as settlement_of
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from tests.integration.analysis.jobs import (
    ANSWERED_503,
    LONG,
    NOW,
    RECORDING,
    RESULT,
    WORKER,
    claimed,
    claims_of,
    extended,
    queued,
    settled,
)
from tests.integration.plans import statements_of


def submission(owner_id: str | None = None) -> Submission:
    return Submission(random_uuid7(), 1, RECORDING, 1, None, owner_id)


class Worker:
    """A claimant that only notes the claims with which it would start."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.claimant = Claimant(WORKER, LONG, self.claims.append)

    def dies_soon(self) -> Claimant:
        """Its lease has expired as soon as the job is created."""
        return replace(self.claimant, lease=NOW)


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_a_job_starts_at_the_worker_that_accepted_it(
    store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    submitted = submission()
    assert await store.submit(submitted, LONG, None, worker.claimant) == submitted.job_id
    (claim,) = worker.claims
    assert claim == Claim(
        job_id=submitted.job_id,
        token_id=1,
        state=State.QUEUED,
        object_key=RECORDING.object_key,
        lease_token=claim.lease_token,
        dispatches=1,
        counted_attempts=1,
        silences=0,
        deadline_passed=False,
        status_url=None,
        token_revision=1,
    )
    assert await claims_of(queue, State.QUEUED, 1, "other:1", LONG) == []
    assert await queue.due() == (0, 0)


async def test_its_claim_is_like_any_other(
    store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    await store.submit(submission(), LONG, None, worker.claimant)
    (claim,) = worker.claims
    assert await extended(queue, claim, LONG)
    assert await settled(queue, settlement_of.postponed(claim, ANSWERED_503))
    again = await claimed(queue)
    assert (again.job_id, again.dispatches, again.counted_attempts) == (claim.job_id, 2, 2)
    assert not await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))


async def test_a_take_costs_three_statements(
    database: Database, store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    submitted = submission()

    async def live() -> None:
        await store.submit(submitted, LONG, Reuse(None), worker.claimant)
        (claim,) = worker.claims
        await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))
        await store.complete(submitted.job_id, RESULT, "1")

    assert len(await statements_of(database, live())) == 3
    assert (await store.get(submitted.job_id)).state is State.COMPLETED


async def test_another_worker_dispatches_the_job_when_its_own_has_died(
    store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    submitted = submission()
    await store.submit(submitted, LONG, None, worker.dies_soon())
    (claim,) = await claims_of(queue, State.QUEUED, 1, "other:1", LONG)
    assert (claim.job_id, claim.dispatches, claim.counted_attempts) == (submitted.job_id, 2, 2)
    (attempt,) = (await store.get_analysis(submitted.job_id)).attempts
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, WORKER, AttemptOutcome.LOST)
    # The first worker was only paused.
    (stale,) = worker.claims
    assert not await settled(queue, settlement_of.accepted(stale, LONG, None, LONG))


async def test_a_new_job_does_not_overtake_a_waiting_one(
    store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    waiting = await queued(store)
    submitted = submission("account-a")
    await store.submit(submitted, LONG, None, worker.claimant)
    assert worker.claims == []
    order = [claim.job_id for claim in await claims_of(queue, State.QUEUED, 2, WORKER, LONG)]
    assert sorted(order) == sorted([waiting, submitted.job_id])
    # Nothing waits any more.
    await store.submit(submission(), LONG, None, worker.claimant)
    assert len(worker.claims) == 1


async def test_a_job_whose_worker_died_waits_like_any_other(
    store: JobStore, worker: Worker
) -> None:
    await store.submit(submission(), LONG, None, worker.dies_soon())
    await store.submit(submission(), LONG, None, worker.claimant)
    assert len(worker.claims) == 1


async def test_claims_at_submission_advance_the_order_of_turns(
    store: JobStore, queue: JobQueue, worker: Worker
) -> None:
    for _ in range(5):
        await store.submit(submission("account-a"), LONG, None, worker.claimant)
    first = await store.submit(submission("account-a"), LONG, None)
    second = await store.submit(submission("account-b"), LONG, None)
    # The jobs under way of the first owner count: the other one goes first.
    assert [(await claimed(queue)).job_id for _ in range(2)] == [second, first]


async def test_a_reused_result_needs_no_worker(store: JobStore, worker: Worker) -> None:
    await store.complete(await queued(store), RESULT, "1")
    submitted = submission()
    await store.submit(submitted, LONG, Reuse(None), worker.claimant)
    assert worker.claims == []
    assert (await store.get(submitted.job_id)).state is State.COMPLETED


async def test_a_repeated_submission_starts_nothing(store: JobStore, worker: Worker) -> None:
    submitted = submission()
    for _ in range(2):
        assert await store.submit(submitted, LONG, None, worker.claimant) == submitted.job_id
    assert len(worker.claims) == 1


async def test_a_job_that_is_created_with_its_claim_wakes_no_worker(
    database: Database, store: JobStore, worker: Worker
) -> None:
    seen: list[State] = []
    reporting = JobStore(database, lambda _, state: seen.append(state))
    await reporting.submit(submission(), LONG, None, worker.claimant)
    assert seen == [State.DISPATCHED]
