"""Submissions on PostgreSQL: one statement creates a job with its recording, and only one job."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from services.analysis.errors import JobNotFound
from services.analysis.jobs import State
from services.analysis.store import Deletions, JobQueue, JobStore, Reuse, Submission
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.shared_errors import JobEnded, RequestIdReused, RequestSuperseded
from tests.integration.analysis.jobs import LONG, RECORDING, RESULT, claimed, queued
from tests.integration.plans import statements_of

REUSE = Reuse(None)
OTHER_AUDIO = replace(RECORDING, sha256=b"\1" * 32)


def submission(request_id: str | None = None, job_id: UUID | None = None) -> Submission:
    return Submission(job_id or random_uuid7(), 1, RECORDING, 1, request_id)


def older(age: timedelta) -> UUID:
    """A UUIDv7 that was generated some time ago."""
    return UUID(int=random_uuid7().int - (int(age.total_seconds() * 1000) << 80))


async def stored_jobs(database: Database) -> int:
    async with database.transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM analysis.jobs")) or 0)


async def test_a_submitted_job_is_due_with_its_recording(store: JobStore, queue: JobQueue) -> None:
    submitted = submission()
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    analysis = await store.get_analysis(submitted.job_id)
    assert (analysis.job.state, analysis.job.progress) == (State.QUEUED, 70)
    assert (analysis.job.token_id, analysis.token_revision) == (1, 1)
    assert analysis.recording == RECORDING
    assert (await claimed(queue)).job_id == submitted.job_id


@pytest.mark.parametrize("request_id", [None, "request"], ids=["no request id", "request id"])
async def test_a_submission_is_one_statement(
    database: Database, store: JobStore, request_id: str | None
) -> None:
    submitted = submission(request_id)
    assert len(await statements_of(database, store.submit(submitted, LONG, REUSE))) == 1


async def test_a_result_that_no_client_can_read_is_not_reused(store: JobStore) -> None:
    await store.complete(await queued(store), b"no struct", "1")
    submitted = submission()
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    assert (await store.get(submitted.job_id)).state is State.QUEUED


async def test_a_submitted_recording_gets_the_stored_result(store: JobStore) -> None:
    first = await queued(store)
    await store.complete(first, RESULT, "1")
    submitted = submission()
    await store.submit(submitted, LONG, REUSE)
    analysis = await store.get_analysis(submitted.job_id)
    assert (analysis.job.state, analysis.job.progress) == (State.COMPLETED, 100)
    assert (analysis.job.result, analysis.analyzer_version) == (RESULT, "1")
    assert analysis.reused_job_id == first


@pytest.mark.parametrize(
    ("submitted", "reuse"),
    [
        (replace(submission(), recording=OTHER_AUDIO), REUSE),
        (replace(submission(), token_revision=2), REUSE),
        (replace(submission(), token_id=2), REUSE),
        (submission(), Reuse("2")),
        (submission(), None),
        (replace(submission(), token_revision=0), REUSE),
    ],
    ids=[
        *("other bytes", "other revision", "other token", "other version"),
        *("switched off", "unknown revision"),
    ],
)
async def test_a_submission_reuses_no_result_unless_everything_matches(
    store: JobStore, submitted: Submission, reuse: Reuse | None
) -> None:
    await store.complete(await queued(store), RESULT, "1")
    await store.submit(submitted, LONG, reuse)
    assert (await store.get(submitted.job_id)).state is State.QUEUED


async def test_a_repeated_submission_changes_nothing(database: Database, store: JobStore) -> None:
    submitted = submission("request")
    await store.submit(submitted, LONG, REUSE)
    before = await store.get(submitted.job_id)
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    assert await store.get(submitted.job_id) == before
    assert await stored_jobs(database) == 1


async def test_a_repeated_submission_succeeds_after_the_job_has_ended(store: JobStore) -> None:
    submitted = submission()
    await store.submit(submitted, LONG, REUSE)
    await store.cancel(submitted.job_id)
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    assert (await store.get(submitted.job_id)).state is State.CANCELLED


@pytest.mark.parametrize("request_id", [None, "request"], ids=["no request id", "request id"])
async def test_concurrent_repeats_of_a_submission_create_one_job(
    database: Database, store: JobStore, request_id: str | None
) -> None:
    submitted = submission(request_id)
    answers = await asyncio.gather(*(store.submit(submitted, LONG, REUSE) for _ in range(8)))
    assert set(answers) == {submitted.job_id}
    assert await stored_jobs(database) == 1


async def test_concurrent_submissions_of_one_request_create_one_job(
    database: Database, store: JobStore
) -> None:
    submissions = [submission("request") for _ in range(8)]
    answers = await asyncio.gather(*(store.submit(each, LONG, REUSE) for each in submissions))
    assert len(set(answers)) == 1
    assert await stored_jobs(database) == 1


async def test_the_same_recording_of_a_request_belongs_to_its_first_job(store: JobStore) -> None:
    first, second = submission("request"), submission("request")
    await store.submit(first, LONG, REUSE)
    assert await store.submit(second, LONG, REUSE) == first.job_id
    with pytest.raises(JobNotFound):
        await store.get(second.job_id)


@pytest.mark.parametrize(
    "other",
    [
        replace(submission("request"), recording=OTHER_AUDIO),
        replace(submission("request"), token_id=2),
    ],
    ids=["other recording", "other token"],
)
async def test_a_request_id_of_another_recording_is_refused(
    store: JobStore, other: Submission
) -> None:
    await store.submit(submission("request"), LONG, REUSE)
    with pytest.raises(RequestIdReused):
        await store.submit(other, LONG, REUSE)
    with pytest.raises(JobNotFound):
        await store.get(other.job_id)


async def test_a_submission_supersedes_an_upload_of_the_same_request(store: JobStore) -> None:
    uploading = random_uuid7()
    await store.create(uploading, 1, LONG, "request")
    submitted = submission("request")
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    assert (await store.get(submitted.job_id)).state is State.QUEUED
    assert (await store.get(uploading)).failure_reason == "REQUEST_SUPERSEDED"


async def test_a_superseded_upload_cannot_be_submitted(store: JobStore) -> None:
    uploading = random_uuid7()
    await store.create(uploading, 1, LONG, "request")
    await store.submit(submission("request"), LONG, REUSE)
    with pytest.raises(RequestSuperseded):
        await store.submit(submission("request", uploading), LONG, REUSE)


async def test_a_request_id_can_be_submitted_again_after_a_day(
    database: Database, store: JobStore
) -> None:
    first, second = submission("request"), replace(submission("request"), recording=OTHER_AUDIO)
    await store.submit(first, LONG, REUSE)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE analysis.jobs SET create_time = create_time - interval '25 hours'")
        )
    assert await store.submit(second, LONG, REUSE) == second.job_id
    assert (await store.get(first.job_id)).state is State.QUEUED


@pytest.mark.parametrize("is_started", [False, True])
async def test_a_submission_attaches_the_recording_to_an_opened_job(
    database: Database, store: JobStore, is_started: bool
) -> None:
    submitted = submission("request")
    await store.create(submitted.job_id, 1, LONG, "request")
    if is_started:
        await store.start_upload(submitted.job_id, LONG)
    assert await store.submit(submitted, LONG, REUSE) == submitted.job_id
    analysis = await store.get_analysis(submitted.job_id)
    assert (analysis.job.state, analysis.recording) == (State.QUEUED, RECORDING)
    assert await stored_jobs(database) == 1


async def test_an_opened_job_that_has_ended_cannot_be_submitted(store: JobStore) -> None:
    submitted = submission()
    await store.create(submitted.job_id, 1, LONG)
    await store.cancel(submitted.job_id)
    with pytest.raises(JobEnded):
        await store.submit(submitted, LONG, REUSE)


async def test_a_deleted_job_cannot_be_submitted(database: Database, store: JobStore) -> None:
    submitted = submission()
    await store.create(submitted.job_id, 1, LONG)
    await Deletions(database).delete(submitted.job_id)
    with pytest.raises(JobEnded):
        await store.submit(submitted, LONG, REUSE)


async def test_an_id_that_is_older_than_an_hour_cannot_be_submitted(
    database: Database, store: JobStore
) -> None:
    with pytest.raises(JobEnded):
        await store.submit(submission(job_id=older(timedelta(minutes=61))), LONG, REUSE)
    assert await stored_jobs(database) == 0
    await store.submit(submission(job_id=older(timedelta(minutes=55))), LONG, REUSE)
    assert await stored_jobs(database) == 1


async def test_a_stored_job_is_submitted_again_however_old_its_id_is(store: JobStore) -> None:
    job_id = older(timedelta(days=2))
    await store.create(job_id, 1, LONG)
    assert await store.submit(submission(job_id=job_id), LONG, REUSE) == job_id


async def test_transitions_of_submissions_are_reported(database: Database, store: JobStore) -> None:
    seen: list[tuple[UUID, State]] = []
    reporting = JobStore(database, lambda *transition: seen.append(transition))
    uploading, submitted = random_uuid7(), submission("request")
    await store.create(uploading, 1, LONG, "request")
    await reporting.submit(submitted, LONG, REUSE)
    assert seen == [(uploading, State.FAILED), (submitted.job_id, State.QUEUED)]


async def test_stored_ids_are_those_whose_recordings_are_needed(
    database: Database, store: JobStore
) -> None:
    kept, deleted, unknown = await queued(store), await queued(store), random_uuid7()
    await Deletions(database).delete(deleted)
    assert set(await store.stored_ids([kept, deleted, unknown])) == {kept, deleted}


async def test_the_recording_of_a_retry_is_needed_after_the_retried_job_has_expired(
    database: Database, store: JobStore
) -> None:
    failed = await queued(store)
    await store.fail(failed, "SILENT_AUDIO", "")
    await store.retry(failed, random_uuid7(), LONG)
    async with database.transaction() as connection:
        await connection.execute(
            text("DELETE FROM analysis.jobs WHERE job_id = :job_id"), {"job_id": failed}
        )
    assert await store.stored_ids([failed]) == [failed]
