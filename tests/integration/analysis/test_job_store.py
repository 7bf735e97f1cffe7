"""The job store on PostgreSQL: races, late reports, reuse, request ids, retries and lists."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.analysis.errors import JobNotFound
from services.analysis.jobs import AttemptOutcome, Recording, State
from services.analysis.store import ExpiredJobs, Filter, JobQueue, JobStore, Reuse
from services.analysis.store import settlements as settlement_of
from services.runtime.database import Database
from services.runtime.shared_errors import RequestIdReused
from tests.integration.analysis.jobs import (
    ANSWERED_503,
    LONG,
    NOW,
    RECORDING,
    RESULT,
    SILENCE,
    WORKER,
    claimed,
    claims_of,
    dispatched,
    opened,
    queued,
    settled,
)

REUSE = Reuse(None)


async def test_creating_a_job_again_changes_nothing(store: JobStore) -> None:
    job_id = await queued(store)
    await store.create(job_id, 2, LONG)
    job = await store.get(job_id)
    assert (job.token_id, job.state) == (1, State.QUEUED)


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    with pytest.raises(JobNotFound):
        await store.get(uuid7())
    with pytest.raises(JobNotFound):
        await store.complete(uuid7(), b"", "")


async def test_one_of_two_concurrent_reports_wins(store: JobStore) -> None:
    job_id = await queued(store)
    first, second = await asyncio.gather(
        store.complete(job_id, b"first", ""), store.complete(job_id, b"second", "")
    )
    assert sorted([first.applied, second.applied]) == [False, True]
    assert (await store.get(job_id)).result == (b"first" if first.applied else b"second")


async def test_a_report_counts_before_the_dispatch_is_answered(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await queued(store)
    await claimed(queue)
    assert (await store.complete(job_id, b"", "")).applied


async def test_a_late_result_completes_a_job_that_timed_out(
    store: JobStore, queue: JobQueue
) -> None:
    job_id = await dispatched(store, queue, NOW)
    (claim,) = await claims_of(queue, State.DISPATCHED, 1, WORKER, LONG)
    await settled(queue, settlement_of.failed(claim, SILENCE))
    assert (await store.complete(job_id, b"late", "")).before is State.FAILED
    job = await store.get(job_id)
    assert (job.state, job.progress, job.failure_reason) == (State.COMPLETED, 100, None)


async def test_a_late_result_does_not_revive_a_job_that_failed_for_another_reason(
    store: JobStore,
) -> None:
    job_id = await queued(store)
    await store.fail(job_id, "SILENT_AUDIO", "")
    assert not (await store.complete(job_id, b"", "")).applied


async def test_a_result_does_not_revive_a_cancelled_job(store: JobStore) -> None:
    job_id = await queued(store)
    assert (await store.cancel(job_id)).applied
    assert not (await store.complete(job_id, b"", "")).applied
    assert (await store.get(job_id)).state is State.CANCELLED


async def test_a_cancelled_job_is_never_due(store: JobStore, queue: JobQueue) -> None:
    await store.cancel(await queued(store))
    assert await claims_of(queue, State.QUEUED, 1, WORKER, LONG) == []


async def test_reported_progress_never_decreases(store: JobStore, queue: JobQueue) -> None:
    job_id = await dispatched(store, queue)
    for reported, shown in [(95, 95), (92, 95), (99, 99)]:
        await store.advance(job_id, reported, f"stage {reported}")
        job = await store.get(job_id)
        assert (job.progress, job.stage) == (shown, f"stage {reported}")


async def test_the_same_recording_gets_the_stored_result(store: JobStore) -> None:
    first = await queued(store)
    await store.complete(first, RESULT, "1")
    second = await opened(store)
    assert (
        await store.attach_recording(second, RECORDING, 1, LONG, REUSE)
    ).after is State.COMPLETED
    analysis = await store.get_analysis(second)
    assert (analysis.job.result, analysis.reused_job_id) == (RESULT, first)
    assert analysis.analyzer_version == "1"


@pytest.mark.parametrize(
    ("recording", "token_revision", "reuse"),
    [
        (replace(RECORDING, sha256=b"\1" * 32), 1, REUSE),
        (RECORDING, 2, REUSE),
        (RECORDING, 1, Reuse("2")),
        (RECORDING, 1, None),
        (RECORDING, 0, REUSE),
    ],
    ids=["other bytes", "other revision", "other version", "switched off", "unknown revision"],
)
async def test_no_result_is_reused_unless_everything_matches(
    store: JobStore, recording: Recording, token_revision: int, reuse: Reuse | None
) -> None:
    await store.complete(await queued(store), RESULT, "1")
    second = await opened(store)
    transition = await store.attach_recording(second, recording, token_revision, LONG, reuse)
    assert transition.after is State.QUEUED


async def test_results_of_an_older_analyzer_are_not_reused(store: JobStore) -> None:
    await store.complete(await queued(store), RESULT, "1")
    other = replace(RECORDING, sha256=b"\1" * 32)
    await store.complete(await queued(store, other), RESULT, "2")
    third = await opened(store)
    assert (await store.attach_recording(third, RECORDING, 1, LONG, REUSE)).after is State.QUEUED


async def test_a_repeated_request_id_returns_the_first_job(store: JobStore) -> None:
    first, second = uuid7(), uuid7()
    assert await store.create(first, 1, LONG, "request") is None
    await store.attach_recording(first, RECORDING, 1, LONG, None)
    attached = await store.create(second, 1, LONG, "request")
    assert attached is not None
    assert (attached.job_id, attached.sha256) == (first, RECORDING.sha256)
    with pytest.raises(JobNotFound):
        await store.get(second)


async def test_a_request_id_of_another_token_is_refused(store: JobStore) -> None:
    await store.create(uuid7(), 1, LONG, "request")
    with pytest.raises(RequestIdReused):
        await store.create(uuid7(), 2, LONG, "request")


async def test_a_newer_upload_of_the_same_request_supersedes_the_older_one(store: JobStore) -> None:
    older, newer = uuid7(), uuid7()
    await store.create(older, 1, LONG, "request")
    assert await store.create(newer, 1, LONG, "request") is None
    transition = await store.attach_recording(older, RECORDING, 1, LONG, None)
    assert (transition.applied, transition.failure_reason) == (False, "REQUEST_SUPERSEDED")
    assert (await store.attach_recording(newer, RECORDING, 1, LONG, None)).applied


async def test_one_of_several_concurrent_uploads_of_a_request_continues(store: JobStore) -> None:
    job_ids = [uuid7() for _ in range(8)]
    await asyncio.gather(
        *(store.create(job_id, 1, LONG, "request") for job_id in job_ids), return_exceptions=True
    )
    states = [job.state for job in await store.get_many(job_ids)]
    assert states.count(State.OPENED) == 1


async def test_the_learner_messages_of_a_failed_upload_are_kept(store: JobStore) -> None:
    job_id = await opened(store)
    messages = {"ko": "빈 파일입니다.", "en": "The recording is empty."}
    await store.fail_upload(job_id, "EMPTY_RECORDING", messages)
    job = await store.get(job_id)
    assert (job.failure_reason, job.failure_messages) == ("EMPTY_RECORDING", messages)


async def test_a_request_id_is_free_after_a_day(store: JobStore, database: Database) -> None:
    first, second = uuid7(), uuid7()
    await store.create(first, 1, LONG, "request")
    await store.attach_recording(first, RECORDING, 1, LONG, None)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE analysis.jobs SET create_time = create_time - interval '25 hours'")
        )
    assert await store.create(second, 2, LONG, "request") is None
    assert (await store.get(first)).state is State.QUEUED


async def test_a_retry_is_a_separate_job_with_the_same_recording(
    store: JobStore, queue: JobQueue
) -> None:
    failed = await queued(store)
    await store.fail(failed, "SILENT_AUDIO", "")
    retry = await store.retry(failed, uuid7(), LONG)
    assert retry is not None
    analysis = await store.get_analysis(retry)
    assert (analysis.job.state, analysis.retried_job_id) == (State.QUEUED, failed)
    assert analysis.recording == RECORDING
    assert (await claimed(queue)).job_id == retry
    assert (await store.get(failed)).state is State.FAILED


async def test_a_job_is_retried_once(store: JobStore) -> None:
    failed = await queued(store)
    await store.fail(failed, "SILENT_AUDIO", "")
    retries = await asyncio.gather(*(store.retry(failed, uuid7(), LONG) for _ in range(4)))
    assert len(set(retries)) == 1


async def test_only_a_failed_job_with_a_recording_is_retried(store: JobStore) -> None:
    assert await store.retry(await queued(store), uuid7(), LONG) is None
    not_uploaded = await opened(store)
    await store.fail_upload(not_uploaded, "INCOMPLETE_UPLOAD", {})
    assert await store.retry(not_uploaded, uuid7(), LONG) is None


async def test_pages_list_the_newest_first(store: JobStore) -> None:
    job_ids = [await queued(store) for _ in range(5)]
    seen, position = [], None
    while page := await store.list_page(Filter(), 2, position):
        seen += [analysis.job.job_id for analysis in page]
        position = (page[-1].create_time, page[-1].job.job_id)
    assert seen == job_ids[::-1]


async def test_a_list_contains_what_its_filter_allows(store: JobStore) -> None:
    under_way, failed, completed, cancelled = [await queued(store) for _ in range(4)]
    await store.fail(failed, "SILENT_AUDIO", "")
    await store.complete(completed, b"", "")
    await store.cancel(cancelled)

    async def listed(**wanted: object) -> set[object]:
        page = await store.list_page(Filter(**wanted), 10, None)  # type: ignore[arg-type]
        return {analysis.job.job_id for analysis in page}

    assert await listed(status="processing") == {under_way}
    assert await listed(status="failed") == {failed}
    assert await listed(status="completed") == {completed}
    assert await listed(status="cancelled") == {cancelled}
    assert await listed(token_id=1) == {under_way, failed, completed, cancelled}
    assert await listed(token_id=2) == set()
    assert await listed(created_from=datetime.now(UTC) + timedelta(hours=1)) == set()
    assert await listed(created_before=datetime.now(UTC) - timedelta(hours=1)) == set()


async def test_an_expired_job_is_found_with_its_recording_and_deleted(
    store: JobStore, expired_jobs: ExpiredJobs
) -> None:
    kept, ended = await queued(store), await queued(store)
    await store.complete(ended, b"", "")
    assert await expired_jobs.find(NOW, 10) == [(ended, RECORDING.object_key)]
    assert await expired_jobs.find(LONG, 10) == []
    await expired_jobs.delete([ended])
    with pytest.raises(JobNotFound):
        await store.get(ended)
    assert (await store.get(kept)).state is State.QUEUED


async def test_the_recording_of_a_retried_job_belongs_to_the_retry(
    store: JobStore, expired_jobs: ExpiredJobs
) -> None:
    failed = await queued(store)
    await store.fail(failed, "SILENT_AUDIO", "")
    retry = await store.retry(failed, uuid7(), LONG)
    assert retry is not None
    await store.complete(retry, b"", "")
    assert dict(await expired_jobs.find(NOW, 10)) == {failed: None, retry: RECORDING.object_key}


async def test_the_history_names_worker_outcome_and_error(store: JobStore, queue: JobQueue) -> None:
    job_id = await queued(store)
    await settled(queue, settlement_of.postponed(await claimed(queue), ANSWERED_503))
    (attempt,) = (await store.get_analysis(job_id)).attempts
    assert (attempt.worker, attempt.outcome, attempt.error) == (
        WORKER,
        AttemptOutcome.FAILED,
        "answered 503",
    )
    assert attempt.start_time <= attempt.end_time
