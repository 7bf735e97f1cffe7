"""Deleted analyses are found by no call, and their rows and recordings follow."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.analysis.errors import JobNotFound
from services.analysis.jobs import State
from services.analysis.store import Deletions, ExpiredJobs, Filter, JobQueue, JobStore, Reuse
from services.analysis.store import settlements as settlement_of
from services.runtime.database import Database
from stack.environment import ROOT
from tests.integration.analysis.jobs import (
    LONG,
    NOW,
    RECORDING,
    claimed,
    dispatched,
    opened,
    queued,
    settled,
)


@pytest.fixture
def deletions(database: Database) -> Deletions:
    return Deletions(database)


async def completed(store: JobStore) -> UUID:
    job_id = await queued(store)
    await store.complete(job_id, b"", "1")
    return job_id


async def failed_with_retries(store: JobStore) -> list[UUID]:
    """A failed job, its failed retry, and the retry of that, which is under way."""
    job_ids = [await queued(store)]
    for _ in range(2):
        await store.fail(job_ids[-1], "SILENT_AUDIO", "")
        retry = await store.retry(job_ids[-1], uuid7(), LONG)
        assert retry is not None
        job_ids.append(retry)
    return job_ids


async def test_no_call_finds_a_deleted_job(store: JobStore, deletions: Deletions) -> None:
    job_id = await completed(store)
    await deletions.delete(job_id)
    for call in (
        store.get(job_id),
        store.get_analysis(job_id),
        store.cancel(job_id),
        store.retry(job_id, uuid7(), LONG),
        store.complete(job_id, b"", ""),
        store.start_upload(job_id, LONG),
        deletions.delete(job_id),
    ):
        with pytest.raises(JobNotFound):
            await call
    assert await store.list_page(Filter(), 10, None) == []


async def test_watchers_of_a_deleted_job_see_that_it_is_cancelled(
    store: JobStore, queue: JobQueue, database: Database
) -> None:
    job_id = await dispatched(store, queue)
    changes: list[tuple[UUID, State]] = []
    await Deletions(database, lambda *change: changes.append(change)).delete(job_id)
    assert changes == [(job_id, State.CANCELLED)]
    (job,) = await store.get_many([job_id])
    assert job.has_ended


async def test_a_deleted_job_gets_no_result_from_its_worker(
    store: JobStore, queue: JobQueue, deletions: Deletions
) -> None:
    await queued(store)
    claim = await claimed(queue)
    await deletions.delete(claim.job_id)
    assert not await settled(queue, settlement_of.completed(claim, b"", ""))
    (job,) = await store.get_many([claim.job_id])
    assert job.state is State.CANCELLED


@pytest.mark.parametrize("which", [0, 1, 2], ids=["the first", "a retry", "the last"])
async def test_all_analyses_of_a_recording_are_deleted_together(
    store: JobStore, deletions: Deletions, expired_jobs: ExpiredJobs, which: int
) -> None:
    job_ids = await failed_with_retries(store)
    await deletions.delete(job_ids[which])
    found = await expired_jobs.find_deleted(NOW, 10)
    assert dict(found) == dict.fromkeys(job_ids, RECORDING.object_key)


async def test_a_deleted_result_is_not_reused(store: JobStore, deletions: Deletions) -> None:
    await deletions.delete(await completed(store))
    job_id = await opened(store)
    transition = await store.attach_recording(job_id, RECORDING, 1, LONG, Reuse(None))
    assert transition.after is State.QUEUED


async def test_a_job_that_copied_a_result_outlives_the_original(
    store: JobStore, deletions: Deletions, expired_jobs: ExpiredJobs
) -> None:
    original, copy = await completed(store), await opened(store)
    await store.attach_recording(copy, RECORDING, 1, LONG, Reuse(None))
    await deletions.delete(original)
    await expired_jobs.delete([original])
    assert (await store.get(copy)).state is State.COMPLETED


async def test_the_request_id_of_a_deleted_job_is_free(
    store: JobStore, deletions: Deletions
) -> None:
    first, second = uuid7(), uuid7()
    await store.create(first, 1, LONG, "key")
    await store.attach_recording(first, RECORDING, 1, LONG, None)
    await deletions.delete(first)
    assert await store.create(second, 2, LONG, "key") is None
    assert (await store.get(second)).state is State.OPENED


async def test_a_deleted_job_is_stored_until_its_watchers_know(
    store: JobStore, deletions: Deletions, expired_jobs: ExpiredJobs
) -> None:
    kept, deleted = await completed(store), await completed(store)
    await deletions.delete(deleted)
    assert await expired_jobs.find_deleted(LONG, 10) == []
    assert await expired_jobs.find_deleted(NOW, 10) == [(deleted, RECORDING.object_key)]
    await expired_jobs.delete([deleted])
    assert (await store.get(kept)).state is State.COMPLETED


class TestCommand:
    """`python -m services.analysis.cli delete`, for operators."""

    def run(self, database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
            "DATABASE_URL": database_url,
        }
        command = [sys.executable, "-m", "services.analysis.cli", "delete", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    async def test_it_deletes_what_it_selects(
        self, store: JobStore, deletions: Deletions, database_url: str
    ) -> None:
        job_ids = [await completed(store), await opened(store)]
        kept = uuid7()
        await store.create(kept, 2, LONG)
        now = datetime.now(UTC)
        past, future = ((now + sign * timedelta(hours=1)).isoformat() for sign in (-1, 1))

        assert self.run(database_url, "--before", past).stdout == "0 analyses deleted\n"
        dry = self.run(database_url, "--before", future, "--token", "1", "--dry-run")
        assert dry.stdout == "2 analyses match\n"
        assert (await store.get(job_ids[0])).has_ended
        deleted = self.run(database_url, "--before", future, "--token", "1")
        assert (deleted.returncode, deleted.stdout) == (0, "2 analyses deleted\n")
        for job_id in job_ids:
            with pytest.raises(JobNotFound):
                await store.get(job_id)
        assert (await store.get(kept)).state is State.OPENED

    async def test_it_deletes_the_analyses_of_one_owner(
        self, store: JobStore, database_url: str
    ) -> None:
        kept, deleted = uuid7(), uuid7()
        await store.create(kept, 1, LONG, None, "account-a")
        await store.create(deleted, 1, LONG, None, "account-b")
        assert self.run(database_url, "--owner", "account-b").stdout == "1 analyses deleted\n"
        with pytest.raises(JobNotFound):
            await store.get(deleted)
        assert (await store.get(kept)).state is State.OPENED

    def test_it_deletes_nothing_without_a_selection(self, database_url: str) -> None:
        refused = self.run(database_url)
        assert refused.returncode == 2
        assert refused.stderr == "Add --before, --token or --owner: they select what is deleted.\n"
