"""A worker holds the leases of its jobs, all in one statement."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from services.analysis.jobs import Claim
from services.analysis.lease import Leases
from services.analysis.store import JobQueue, JobStore
from tests.integration.analysis.jobs import LONG, NOW, WORKER, queued

SHORT = timedelta(milliseconds=1)


async def expired_claims(store: JobStore, queue: JobQueue, number: int) -> list[Claim]:
    """Claims whose leases have expired; the jobs are due again."""
    for _ in range(number):
        await queued(store)
    claims, _ = await queue.claim_due(number, number, WORKER, NOW)
    assert len(claims) == number
    return claims


async def due_jobs(queue: JobQueue) -> int:
    number, _ = await queue.due()
    return number


async def test_all_leases_are_renewed(store: JobStore, queue: JobQueue) -> None:
    leases = Leases(queue)
    first, second = await expired_claims(store, queue, 2)
    with leases.held(first), leases.held(second):
        # A new lease lasts until the renewal after the next.
        await leases.renew()
        assert await due_jobs(queue) == 2
        await leases.renew()
        assert await due_jobs(queue) == 0


async def test_a_lease_that_is_no_longer_held_is_not_renewed(
    store: JobStore, queue: JobQueue
) -> None:
    leases = Leases(queue)
    (claim,) = await expired_claims(store, queue, 1)
    with leases.held(claim):
        await leases.renew()
    await leases.renew()
    assert await due_jobs(queue) == 1


async def test_work_on_a_job_that_another_worker_claimed_is_cancelled(
    store: JobStore, queue: JobQueue
) -> None:
    leases = Leases(queue)
    (lost,) = await expired_claims(store, queue, 1)
    await queue.claim_due(1, 1, "other:1", LONG)
    held, *_ = await _claimed_again(store, queue)

    async def work(claim: Claim) -> None:
        with leases.held(claim):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(work(claim)) for claim in (lost, held)]
    await asyncio.sleep(0)
    await leases.renew()
    await leases.renew()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert not tasks[1].done()
    tasks[1].cancel()
    await asyncio.wait(tasks)


async def _claimed_again(store: JobStore, queue: JobQueue) -> list[Claim]:
    await queued(store)
    claims, _ = await queue.claim_due(1, 1, WORKER, LONG)
    return claims
