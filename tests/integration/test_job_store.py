"""Jobs in PostgreSQL: no job is dispatched twice at once, none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.analysis.jobs import Recording, State
from services.analysis.store import JobStore
from services.runtime.database import Database
from services.runtime.errors import JobNotFound

LONG = timedelta(hours=1)
NOW = timedelta(0)
RECORDING = Recording("recordings/1/x", 3, "audio/wav", bytes(32), "take.wav")


@pytest.fixture
async def store(database: Database) -> AsyncIterator[JobStore]:
    store = JobStore(database)
    yield store
    # What this test left due is no other test's business.
    for dispatch in await store.claim(1000, LONG):
        await store.fail_dispatch(dispatch, "TEST_ENDED")


async def queued(store: JobStore) -> UUID:
    job_id = uuid7()
    await store.open(job_id, 1, LONG)
    assert await store.attach(job_id, RECORDING)
    return job_id


async def state(store: JobStore, job_id: UUID) -> State:
    return (await store.get(job_id)).state


async def test_a_repeated_open_opens_no_second_job(store: JobStore) -> None:
    job_id = await queued(store)
    await store.open(job_id, 2, LONG)
    job = await store.get(job_id)
    assert (job.token_id, job.state) == (1, State.QUEUED)


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    with pytest.raises(JobNotFound):
        await store.get(uuid7())


async def test_workers_share_the_due_jobs(store: JobStore) -> None:
    jobs = {await queued(store) for _ in range(20)}
    claims = await asyncio.gather(*(store.claim(5, LONG) for _ in range(4)))
    claimed = [dispatch.job_id for claim in claims for dispatch in claim]
    assert len(claimed) == len(set(claimed))
    rest = await store.claim(20, LONG)
    assert {*claimed, *(dispatch.job_id for dispatch in rest)} == jobs


async def test_a_job_whose_worker_died_is_due_again(store: JobStore) -> None:
    job_id = await queued(store)
    (first,) = await store.claim(1, NOW)
    (second,) = await store.claim(1, LONG)
    assert (first.job_id, first.attempt) == (job_id, 1)
    assert (second.job_id, second.attempt) == (job_id, 2)


async def test_a_worker_that_lost_its_lease_changes_nothing(store: JobStore) -> None:
    job_id = await queued(store)
    (stale,) = await store.claim(1, NOW)
    (current,) = await store.claim(1, LONG)
    assert not await store.fail_dispatch(stale, "STALE")
    assert not await store.accept_dispatch(stale, LONG)
    assert not await store.postpone_dispatch(stale, NOW)
    assert not await store.extend_lease(stale, NOW)
    assert await store.claim(1, LONG) == []
    assert await store.accept_dispatch(current, LONG)
    assert await state(store, job_id) is State.DISPATCHED


async def test_a_renewed_lease_holds(store: JobStore) -> None:
    await queued(store)
    (dispatch,) = await store.claim(1, NOW)
    assert await store.extend_lease(dispatch, LONG)
    assert await store.claim(1, LONG) == []


async def test_a_postponed_dispatch_is_due_after_its_pause(store: JobStore) -> None:
    await queued(store)
    (dispatch,) = await store.claim(1, LONG)
    await store.postpone_dispatch(dispatch, LONG)
    assert await store.claim(1, LONG) == []
    await store.postpone_dispatch(dispatch, NOW)
    assert len(await store.claim(1, LONG)) == 1


async def test_of_two_reports_at_once_one_wins(store: JobStore) -> None:
    job_id = await queued(store)
    moved = await asyncio.gather(
        store.complete(job_id, b"first"), store.complete(job_id, b"second")
    )
    assert sorted(moved) == [False, True]
    assert (await store.get(job_id)).result == (b"first" if moved[0] else b"second")


async def test_a_report_before_the_dispatch_was_answered_counts(store: JobStore) -> None:
    job_id = await queued(store)
    (dispatch,) = await store.claim(1, LONG)
    assert await store.complete(job_id, b"")
    assert not await store.accept_dispatch(dispatch, LONG)
    assert await state(store, job_id) is State.COMPLETED


@pytest.mark.parametrize("started", [False, True])
async def test_a_job_whose_recording_never_comes_times_out(store: JobStore, started: bool) -> None:
    job_id = uuid7()
    await store.open(job_id, 1, NOW)
    if started:
        await store.start_upload(job_id)
    await store.time_out()
    job = await store.get(job_id)
    assert (job.state, job.failure_reason) == (State.FAILED, "UPLOAD_TIMED_OUT")
    assert not await store.attach(job_id, RECORDING)


async def test_a_job_that_is_never_reported_times_out(store: JobStore) -> None:
    job_id = await queued(store)
    (dispatch,) = await store.claim(1, LONG)
    await store.accept_dispatch(dispatch, NOW)
    await store.time_out()
    job = await store.get(job_id)
    assert (job.state, job.progress, job.failure_reason) == (
        State.FAILED,
        90,
        "ANALYSIS_TIMED_OUT",
    )
