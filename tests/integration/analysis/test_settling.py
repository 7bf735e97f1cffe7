"""Settlements of a worker are written together, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from services.analysis.jobs import Claim, State
from services.analysis.store import JobQueue, JobStore, Settlement
from services.analysis.store.settlements import accepted, completed
from services.runtime.batches import Batches
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings
from tests.integration.analysis.jobs import LONG, WORKER, queued

MAX_BATCH = 64


def settler_of(queue: JobQueue) -> Batches[Settlement, bool]:
    """Batches as a worker writes them."""
    return Batches(
        queue.settle_many, lambda each: each.claim.job_id, max_items=MAX_BATCH, window_seconds=0
    )


class CountingDatabase(Database):
    """Counts the statements that run without SQLAlchemy."""

    statements = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[object]:  # type: ignore[override]
        self.statements += 1
        async with super().connection() as connection:
            yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[CountingDatabase]:
    settings = DatabaseSettings.model_validate({"database_url": database_url})
    async with CountingDatabase(settings, "test") as database:
        yield database


async def claims_of(store: JobStore, queue: JobQueue, number: int) -> list[Claim]:
    for _ in range(number):
        await queued(store)
    claims, _ = await queue.claim_due(number, number, WORKER, LONG)
    assert len(claims) == number
    return claims


def acceptance(claim: Claim) -> Settlement:
    return accepted(claim, LONG, None, LONG)


async def states(store: JobStore, claims: list[Claim]) -> list[State]:
    return [(await store.get(claim.job_id)).state for claim in claims]


async def test_claims_that_end_together_are_settled_in_one_statement(
    database: CountingDatabase, store: JobStore, queue: JobQueue
) -> None:
    claims = await claims_of(store, queue, 3)
    settler, before = settler_of(queue), database.statements
    assert await asyncio.gather(*(settler.run(acceptance(claim)) for claim in claims)) == [
        True,
        True,
        True,
    ]
    assert database.statements == before + 1
    assert await states(store, claims) == [State.DISPATCHED] * 3


async def test_a_batch_has_a_limit(
    database: CountingDatabase, store: JobStore, queue: JobQueue
) -> None:
    claims = await claims_of(store, queue, MAX_BATCH + 1)
    settler, before = settler_of(queue), database.statements
    assert all(await asyncio.gather(*(settler.run(acceptance(each)) for each in claims)))
    assert database.statements == before + 2


async def test_each_settlement_returns_whether_its_own_claim_was_held(
    store: JobStore, queue: JobQueue
) -> None:
    held, lost = await claims_of(store, queue, 2)
    settler = settler_of(queue)
    results = await asyncio.gather(
        settler.run(acceptance(replace(lost, lease_token=uuid4()))),
        settler.run(acceptance(held)),
    )
    assert list(results) == [False, True]
    assert await states(store, [held, lost]) == [State.DISPATCHED, State.QUEUED]


async def test_an_earlier_claim_of_the_same_job_is_settled_apart(
    store: JobStore, queue: JobQueue
) -> None:
    (claim,) = await claims_of(store, queue, 1)
    settler = settler_of(queue)
    earlier = replace(claim, lease_token=uuid4())
    results = await asyncio.gather(settler.run(acceptance(earlier)), settler.run(acceptance(claim)))
    assert list(results) == [False, True]


async def test_a_settlement_that_postgresql_refuses_does_not_concern_the_others(
    store: JobStore, queue: JobQueue
) -> None:
    refused, other = await claims_of(store, queue, 2)
    settler = settler_of(queue)
    results = await asyncio.gather(
        settler.run(completed(refused, b"", "a NUL: \0")),
        settler.run(acceptance(other)),
        return_exceptions=True,
    )
    assert isinstance(results[0], Exception)
    assert results[1] is True
    assert await states(store, [refused, other]) == [State.QUEUED, State.DISPATCHED]


async def test_jobs_stay_claimed_while_the_database_is_unavailable(queue: JobQueue) -> None:
    settings = DatabaseSettings.model_validate({"database_url": "postgresql://sori@127.0.0.1:9/x"})
    async with Database(settings, "test") as nowhere:
        settler = settler_of(JobQueue(nowhere))
        claims = [_claim_of(uuid4()), _claim_of(uuid4())]
        results = await asyncio.gather(
            *(settler.run(acceptance(claim)) for claim in claims), return_exceptions=True
        )
    assert [type(each) for each in results] == [DatabaseUnavailable] * 2


def _claim_of(job_id: UUID) -> Claim:
    return Claim(job_id, 1, State.QUEUED, "a", uuid4(), 1, 1, 0, False, None, 1)
