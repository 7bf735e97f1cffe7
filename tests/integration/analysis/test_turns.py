"""Turns on PostgreSQL: owners get equal shares of the claims, whatever they have in the queue."""

from __future__ import annotations

import random
from collections import Counter, deque
from itertools import combinations
from uuid import UUID

import pytest
from sqlalchemy import text

from services.analysis.jobs import State
from services.analysis.store import JobQueue, JobStore, Submission
from services.analysis.store import settlements as settlement_of
from services.runtime.callers import guest_owner_id
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from tests.integration.analysis.jobs import (
    ANSWERED_503,
    LONG,
    NOW,
    RECORDING,
    WORKER,
    claimed,
    claims_of,
    dispatched,
    settled,
)
from tests.integration.plans import statements_of

OWNERS = (None, guest_owner_id("secret"), "account-a", "account-b", "account-c")
STEPS = 150
LARGEST_DIFFERENCE = 2
"""The bound of start-time fair queueing for jobs that cost the same."""


async def submitted(store: JobStore, owner_id: str | None) -> UUID:
    submission = Submission(random_uuid7(), 1, RECORDING, owner_id=owner_id)
    return await store.submit(submission, LONG, None)


async def claim_one(queue: JobQueue) -> UUID:
    return (await claimed(queue)).job_id


class Backlog:
    """The queue as owners see it: what each has waiting, and what was claimed meanwhile."""

    def __init__(self) -> None:
        self.waiting: dict[str | None, deque[UUID]] = {owner: deque() for owner in OWNERS}
        self._owners: dict[UUID, str | None] = {}
        self._claims: dict[tuple[str | None, str | None], Counter[str | None]] = {
            pair: Counter() for pair in combinations(OWNERS, 2)
        }

    def add(self, owner_id: str | None, job_id: UUID) -> None:
        self.waiting[owner_id].append(job_id)
        self._owners[job_id] = owner_id

    def claim(self, job_id: UUID) -> None:
        """Check that it is this job's turn."""
        owner_id = self._owners[job_id]
        assert self.waiting[owner_id][0] == job_id, "the jobs of an owner go in their order"
        for pair, claims in self._claims.items():
            if owner_id in pair and all(self.waiting[each] for each in pair):
                claims[owner_id] += 1
                assert abs(claims[pair[0]] - claims[pair[1]]) <= LARGEST_DIFFERENCE
        self.waiting[owner_id].popleft()
        if not self.waiting[owner_id]:
            for pair in self._claims:
                if owner_id in pair:
                    self._claims[pair].clear()


@pytest.mark.parametrize("seed", range(6))
async def test_owners_that_wait_at_the_same_time_get_equal_shares(
    store: JobStore, queue: JobQueue, seed: int
) -> None:
    chance, backlog = random.Random(seed), Backlog()
    for _ in range(STEPS):
        # Some owners submit much more often than others.
        owner_id = OWNERS[min(int(chance.expovariate(1.5)), len(OWNERS) - 1)]
        for _ in range(chance.choice((0, 1, 1, 2, 8))):
            backlog.add(owner_id, await submitted(store, owner_id))
        for _ in range(chance.randrange(4)):
            claims, _ = await queue.claim_due(1, 1, WORKER, LONG)
            for claim in claims:
                backlog.claim(claim.job_id)
                if chance.random() < 0.5:
                    await store.complete(claim.job_id, b"", "")


async def test_one_take_does_not_wait_for_the_many_of_another_learner(
    store: JobStore, queue: JobQueue
) -> None:
    of_other = [await submitted(store, "account-a") for _ in range(200)]
    # A worker is in the middle of them.
    claims, _ = await queue.claim_due(16, 16, WORKER, LONG)
    assert {claim.job_id for claim in claims} == {*of_other[:16]}
    own = await submitted(store, "account-b")
    assert await claim_one(queue) == own
    assert await claim_one(queue) == of_other[16]


async def test_the_takes_of_a_learner_are_claimed_in_their_order(
    store: JobStore, queue: JobQueue
) -> None:
    job_ids = [await submitted(store, "account-a") for _ in range(20)]
    # Opened jobs have no turn until their recording arrives.
    await store.create(random_uuid7(), 1, LONG, None, "account-a")
    for job_id in job_ids[5:10]:
        await store.cancel(job_id)
    job_ids.append(await submitted(store, "account-a"))
    assert [await claim_one(queue) for _ in range(16)] == job_ids[:5] + job_ids[10:]


async def test_a_take_in_parts_and_a_retry_get_turns_as_well(
    store: JobStore, queue: JobQueue
) -> None:
    failed = await submitted(store, "account-a")
    await claimed(queue)
    await store.fail(failed, "SILENT_AUDIO", "")
    of_other = [await submitted(store, "account-b") for _ in range(5)]
    opened = random_uuid7()
    await store.create(opened, 1, LONG, None, "account-a")
    await store.attach_recording(opened, RECORDING, 1, LONG, None)
    retry = random_uuid7()
    await store.retry(failed, retry, LONG)
    order = [await claim_one(queue) for _ in range(7)]
    assert order == [of_other[0], opened, of_other[1], retry, *of_other[2:]]


async def test_a_job_that_comes_back_keeps_its_turn(store: JobStore, queue: JobQueue) -> None:
    first, second = [await submitted(store, "account-a") for _ in range(2)]
    claim = await claimed(queue)
    of_other = [await submitted(store, "account-b") for _ in range(3)]
    await settled(queue, settlement_of.postponed(claim, ANSWERED_503))
    order = [await claim_one(queue) for _ in range(5)]
    assert order == [of_other[0], first, second, *of_other[1:]]


async def dispatched_of(store: JobStore, queue: JobQueue, owner_id: str) -> None:
    """Let an owner have one more job under way that the analysis server has accepted."""
    job_id = await submitted(store, owner_id)
    claims, _ = await queue.claim_due(10, 10, WORKER, NOW)
    (claim,) = [each for each in claims if each.job_id == job_id]
    assert await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))


async def test_the_order_costs_no_statement(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    async def live() -> None:
        await submitted(store, "account-a")
        await queue.claim_due(1, 1, WORKER, LONG)

    assert len(await statements_of(database, live())) == 2


async def test_jobs_of_the_former_release_are_claimed_first(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    """During a rollout they have no turn; they must not wait forever."""
    await submitted(store, "account-a")
    former = random_uuid7()
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO analysis.jobs"
                " (job_id, token_id, state, progress, due_time, deadline, object_key)"
                " VALUES (:job_id, 1, 'queued', 70, now(), now() + interval '1 hour', 'x')"
            ),
            {"job_id": former},
        )
    assert await claim_one(queue) == former


async def test_dispatched_jobs_do_not_set_the_clock_back(store: JobStore, queue: JobQueue) -> None:
    checked = await dispatched(store, queue, NOW)
    for _ in range(3):
        await dispatched_of(store, queue, "account-c")
    before = await submitted(store, "account-a")
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    assert claim.job_id == checked
    after = await submitted(store, "account-b")
    assert [await claim_one(queue), await claim_one(queue)] == [before, after]
