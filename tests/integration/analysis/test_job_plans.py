"""Plans of the job queries: workers and lists cost the same with a million finished jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.schema import CreateIndex

from services.analysis.jobs import State
from services.analysis.store import ExpiredJobs, Filter, JobQueue, JobStore, Reuse, Submission
from services.analysis.store import settlements as settlement_of
from services.analysis.tables import jobs
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from tests.integration.analysis.jobs import (
    LONG,
    NOW,
    RECORDING,
    WORKER,
    claims_of,
    opened,
    queued,
    settled,
)
from tests.integration.plans import buffers, plans_of
from tests.integration.sql import run

FINISHED_JOBS = 1_000_000

FINISHED = f"""
INSERT INTO analysis.jobs (
    job_id, token_id, state, progress, create_time, update_time, end_time,
    object_key, size, content_type, sha256, file_name, token_revision, result, failure_reason,
    owner_id
)
SELECT
    uuidv7(), number % 1000 + 2, state, 100, time, time, time,
    'recordings/x', 3, 'audio/wav', decode(md5(number::text), 'hex'), '', 1,
    CASE state WHEN 'completed' THEN '\\x00'::bytea END,
    CASE state WHEN 'failed' THEN 'SILENT_AUDIO' END,
    'account-' || number % 1000
FROM (
    SELECT
        number,
        CASE WHEN number % 100 = 0 THEN 'failed' ELSE 'completed' END AS state,
        now() - number * interval '1 second' AS time
    FROM generate_series(1, {FINISHED_JOBS}) AS number
) AS finished
"""

UNDER_WAY = """
INSERT INTO analysis.jobs (job_id, token_id, state, progress, due_time, deadline, object_key)
SELECT
    uuidv7(), 2, (ARRAY['queued', 'dispatched'])[number % 2 + 1], 90,
    now() + interval '1 hour', now() + interval '1 hour', 'recordings/x'
FROM generate_series(1, 5000) AS number
"""

QUEUE = 20_000
MOST_PAGES = 5_000
"""Far fewer than the rows in the queue; a claim of 16 jobs writes their index entries, too."""

WAITING = f"""
INSERT INTO analysis.jobs
    (job_id, token_id, owner_id, state, progress, due_time, deadline, object_key, turn)
SELECT
    uuidv7(), 1, 'account-a', 'queued', 70, now(), now() + interval '1 hour', 'x',
    last_value + number
FROM generate_series(1, {QUEUE}) AS number, analysis.turns
"""

Plans = Callable[[Awaitable[object]], Awaitable[list[str]]]


@pytest.fixture(scope="module")
def million(database_url: str) -> Iterator[None]:
    # Building the indexes afterwards takes a tenth of the time.
    drop = [f"DROP INDEX analysis.{index.name}" for index in jobs.indexes]
    create = [
        str(
            CreateIndex(index).compile(
                dialect=dialect()  # type: ignore[no-untyped-call]
            )
        )
        for index in jobs.indexes
    ]
    run(database_url, *drop, FINISHED, UNDER_WAY, *create, "ANALYZE analysis.jobs")
    yield
    run(database_url, "TRUNCATE analysis.jobs CASCADE")


@pytest.fixture
def store(database: Database, database_url: str, million: None) -> Iterator[JobStore]:
    yield JobStore(database)
    run(database_url, "DELETE FROM analysis.jobs WHERE token_id = 1")


@pytest.fixture
def plans(database: Database) -> Plans:
    """Returns the plans of all statements on jobs that a call runs."""
    return lambda call: plans_of(database, call, "analysis.jobs")


async def cancelled(store: JobStore) -> None:
    await store.cancel(await opened(store))


def assert_by_index(plans: list[str], index: str) -> None:
    for plan in plans:
        assert "Seq Scan on jobs" not in plan, plan
    assert any(index in plan for plan in plans), plans


async def test_a_claim_reads_only_due_jobs(store: JobStore, queue: JobQueue, plans: Plans) -> None:
    await queued(store)
    found = await plans(queue.claim_due(16, 16, WORKER, LONG))
    assert_by_index(found, "ix_jobs_state_due_time")


async def test_a_claim_reads_few_rows_of_a_long_queue(
    store: JobStore, queue: JobQueue, database: Database, database_url: str, plans: Plans
) -> None:
    # The statistics are from before.
    run(database_url, WAITING)
    (plan,) = await plans(queue.claim_due(16, 16, WORKER, LONG))
    assert "ix_jobs_turn" in plan, plan
    pages = await buffers(database, queue.claim_due(16, 16, WORKER, LONG), "analysis.jobs")
    assert pages < MOST_PAGES


async def test_a_submission_reads_only_jobs_of_its_owner_under_way(
    store: JobStore, database: Database, database_url: str, plans: Plans
) -> None:
    run(database_url, WAITING)
    limited = JobStore(database, max_jobs_per_owner=10)
    for owner_id in ("account-7", None):
        submission = Submission(random_uuid7(), 1, RECORDING, owner_id=owner_id)
        found = await plans(limited.submit(submission, LONG, None))
        assert_by_index(found, "ix_jobs_owner_under_way")


async def test_timing_out_reads_only_due_jobs(
    store: JobStore, queue: JobQueue, plans: Plans
) -> None:
    await opened(store)
    assert_by_index(await plans(queue.time_out(1000)), "ix_jobs_state_due_time")


async def test_a_reusable_result_is_found_by_its_recording(store: JobStore, plans: Plans) -> None:
    job_id = await opened(store)
    found = await plans(store.attach_recording(job_id, RECORDING, 1, LONG, Reuse(None)))
    assert_by_index(found, "ix_jobs_reusable")
    assert_by_index(found, "ix_jobs_computed")


async def test_a_submission_finds_a_reusable_result_by_its_recording(
    store: JobStore, plans: Plans
) -> None:
    submission = Submission(random_uuid7(), 1, RECORDING, 1)
    found = await plans(store.submit(submission, LONG, Reuse(None)))
    assert_by_index(found, "ix_jobs_reusable")
    assert_by_index(found, "ix_jobs_computed")


async def test_settlements_read_only_their_jobs(
    store: JobStore, queue: JobQueue, plans: Plans
) -> None:
    await queued(store)
    (claim,) = await claims_of(queue, State.QUEUED, 1, WORKER, LONG)
    assert_by_index(
        await plans(settled(queue, settlement_of.accepted(claim, LONG, None, LONG))), "pk_jobs"
    )


async def test_the_recordings_to_keep_are_found_by_index(store: JobStore, plans: Plans) -> None:
    assert_by_index(await plans(store.stored_ids([random_uuid7()])), "pk_jobs")


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "ix_jobs_create_time"),
        (Filter(token_id=7), "ix_jobs_token_id"),
        (Filter(owner_id="account-7"), "ix_jobs_owner_id"),
        (Filter(status="processing"), "ix_jobs_under_way"),
        (Filter(status="failed"), "ix_jobs_failed"),
        (Filter(status="cancelled"), "ix_jobs_cancelled"),
    ],
    ids=["all", "of a token", "of an owner", "under way", "failed", "cancelled"],
)
async def test_a_page_is_read_from_its_index(
    store: JobStore, plans: Plans, wanted: Filter, index: str
) -> None:
    await opened(store)
    await cancelled(store)
    (first,) = await store.list_page(wanted, 1, None)
    assert_by_index(await plans(store.list_page(wanted, 50, None)), index)
    position = (first.create_time, first.job.job_id)
    assert_by_index(await plans(store.list_page(wanted, 50, position)), index)


async def test_expired_jobs_are_found_by_their_end_time(
    store: JobStore, expired_jobs: ExpiredJobs, plans: Plans
) -> None:
    assert_by_index(await plans(expired_jobs.find(NOW, 100)), "ix_jobs_end_time")


async def test_deleted_jobs_are_found_by_their_index(
    store: JobStore, expired_jobs: ExpiredJobs, plans: Plans
) -> None:
    assert_by_index(await plans(expired_jobs.find_deleted(NOW, 100)), "ix_jobs_delete_time")
