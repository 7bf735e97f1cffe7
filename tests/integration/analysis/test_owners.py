"""Request ids, results and limits of owners on PostgreSQL: no owner gets what is another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from services.analysis.errors import JobNotFound
from services.analysis.jobs import State
from services.analysis.store import (
    Deletions,
    ExpiredJobs,
    Filter,
    JobQueue,
    JobStore,
    OwnedJobs,
    Reuse,
    Submission,
)
from services.analysis.store import settlements as settlement_of
from services.runtime.callers import guest_owner_id
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.shared_errors import RequestIdReused, TooManyJobs
from tests.integration.analysis.jobs import (
    LONG,
    NOW,
    RECORDING,
    RESULT,
    WORKER,
    claimed,
    claims_of,
    settled,
)
from tests.integration.plans import statements_of

GUEST, OTHER_GUEST = guest_owner_id("secret"), guest_owner_id("other secret")
LEARNER, OTHER_LEARNER = "account-a", "account-b"
OTHER_AUDIO = replace(RECORDING, sha256=b"\1" * 32)
MOST_JOBS = 3


def submission(owner_id: str | None, request_id: str | None = None) -> Submission:
    return Submission(random_uuid7(), 1, RECORDING, 1, request_id, owner_id)


@pytest.fixture
def owned(database: Database) -> OwnedJobs:
    return OwnedJobs(database)


async def submitted(store: JobStore, owner_id: str | None, request_id: str | None = None) -> UUID:
    return await store.submit(submission(owner_id, request_id), LONG, None)


async def owner_of(store: JobStore, job_id: UUID) -> str | None:
    return (await store.get(job_id)).owner_id


async def jobs_of(store: JobStore, owner_id: str) -> set[UUID]:
    page = await store.list_page(Filter(owner_id=owner_id), 100, None)
    return {analysis.job.job_id for analysis in page}


class TestRequestIds:
    """A request id belongs to one account; guests share theirs."""

    @pytest.mark.parametrize("other", [OTHER_LEARNER, GUEST, None])
    async def test_an_account_never_gets_the_job_of_another_owner(
        self, store: JobStore, other: str | None
    ) -> None:
        first = await submitted(store, LEARNER, "request")
        second = await submitted(store, other, "request")
        assert (await owner_of(store, first), await owner_of(store, second)) == (LEARNER, other)
        # Both have their own.
        assert await submitted(store, LEARNER, "request") == first
        assert await submitted(store, other, "request") == second

    async def test_an_account_does_not_supersede_an_upload_of_another_one(
        self, store: JobStore
    ) -> None:
        uploading = random_uuid7()
        await store.create(uploading, 1, LONG, "request", LEARNER)
        await store.create(random_uuid7(), 1, LONG, "request", OTHER_LEARNER)
        await submitted(store, OTHER_LEARNER, "request")
        assert (await store.get(uploading)).state is State.OPENED

    async def test_an_account_learns_nothing_from_the_request_id_of_another_one(
        self, store: JobStore
    ) -> None:
        await submitted(store, LEARNER, "request")
        other = replace(submission(OTHER_LEARNER, "request"), recording=OTHER_AUDIO)
        assert await store.submit(other, LONG, None) == other.job_id

    async def test_an_account_gets_its_own_job_when_it_opens_again(self, store: JobStore) -> None:
        first = await submitted(store, LEARNER, "request")
        attached = await store.create(random_uuid7(), 1, LONG, "request", LEARNER)
        assert attached is not None
        assert attached.job_id == first

    async def test_a_guest_without_its_secret_gets_the_job_of_its_first_request(
        self, store: JobStore
    ) -> None:
        """The first answer, which had the secret, may not have arrived."""
        first = await submitted(store, GUEST, "request")
        assert await submitted(store, OTHER_GUEST, "request") == first

    async def test_concurrent_requests_of_two_accounts_create_two_jobs(
        self, store: JobStore
    ) -> None:
        owners = [LEARNER, OTHER_LEARNER] * 4
        job_ids = await asyncio.gather(*(submitted(store, each, "request") for each in owners))
        assert len(set(job_ids)) == 2


class TestReuse:
    """A result is copied only for the owner of the take that was analysed."""

    @pytest.fixture
    async def analysed(self, store: JobStore) -> UUID:
        job_id = await submitted(store, LEARNER)
        await store.complete(job_id, RESULT, "1")
        return job_id

    async def in_one_call(self, store: JobStore, owner_id: str | None) -> UUID:
        return await store.submit(submission(owner_id), LONG, Reuse(None))

    async def in_parts(self, store: JobStore, owner_id: str | None) -> UUID:
        job_id = random_uuid7()
        await store.create(job_id, 1, LONG, None, owner_id)
        await store.attach_recording(job_id, RECORDING, 1, LONG, Reuse(None))
        return job_id

    @pytest.mark.parametrize("way", [in_one_call, in_parts])
    async def test_the_owner_gets_the_stored_result(
        self,
        store: JobStore,
        analysed: UUID,
        way: Callable[[TestReuse, JobStore, str | None], Awaitable[UUID]],
    ) -> None:
        job_id = await way(self, store, LEARNER)
        assert (await store.get_analysis(job_id)).reused_job_id == analysed

    @pytest.mark.parametrize("way", [in_one_call, in_parts])
    @pytest.mark.parametrize("other", [OTHER_LEARNER, GUEST, None])
    async def test_nobody_else_learns_that_the_recording_was_analysed(
        self,
        store: JobStore,
        analysed: UUID,
        other: str | None,
        way: Callable[[TestReuse, JobStore, str | None], Awaitable[UUID]],
    ) -> None:
        job_id = await way(self, store, other)
        assert (await store.get(job_id)).state is State.QUEUED


class TestLimits:
    """How many jobs an owner may have under way."""

    @pytest.fixture
    def limited(self, database: Database, store: JobStore) -> JobStore:
        """Depends on `store`, which deletes the jobs afterwards."""
        return JobStore(database, max_jobs_per_owner=MOST_JOBS)

    @pytest.fixture
    async def full(self, limited: JobStore) -> list[UUID]:
        """As many jobs of the learner as it may have, in all states on the way."""
        opened = random_uuid7()
        await limited.create(opened, 1, LONG, None, LEARNER)
        return [opened, *[await submitted(limited, LEARNER) for _ in range(MOST_JOBS - 1)]]

    async def test_one_more_is_refused_until_one_has_ended(
        self, limited: JobStore, full: list[UUID]
    ) -> None:
        for call in (
            submitted(limited, LEARNER),
            limited.create(random_uuid7(), 1, LONG, None, LEARNER),
        ):
            with pytest.raises(TooManyJobs) as refusal:
                await call
            assert refusal.value.retry_seconds
        await limited.cancel(full[0])
        await submitted(limited, LEARNER)

    async def test_dispatched_jobs_count(
        self, limited: JobStore, queue: JobQueue, full: list[UUID]
    ) -> None:
        for claim in await claims_of(queue, State.QUEUED, MOST_JOBS, WORKER, LONG):
            await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))
        with pytest.raises(TooManyJobs):
            await submitted(limited, LEARNER)

    async def test_other_owners_are_not_limited(self, limited: JobStore, full: list[UUID]) -> None:
        for owner_id in (OTHER_LEARNER, GUEST):
            await submitted(limited, owner_id)
        for _ in range(MOST_JOBS + 1):
            await submitted(limited, None)

    async def test_a_job_that_was_opened_gets_its_recording(
        self, limited: JobStore, full: list[UUID]
    ) -> None:
        again = replace(submission(LEARNER), job_id=full[0])
        assert await limited.submit(again, LONG, None) == full[0]

    async def test_a_repeated_request_gets_its_job(self, limited: JobStore) -> None:
        first = await submitted(limited, LEARNER, "request")
        for _ in range(MOST_JOBS - 1):
            await submitted(limited, LEARNER)
        assert await submitted(limited, LEARNER, "request") == first

    async def test_a_request_that_replaces_an_upload_needs_no_room(self, limited: JobStore) -> None:
        uploading = random_uuid7()
        await limited.create(uploading, 1, LONG, "request", LEARNER)
        for _ in range(MOST_JOBS - 1):
            await submitted(limited, LEARNER)
        await submitted(limited, LEARNER, "request")
        assert (await limited.get(uploading)).failure_reason == "REQUEST_SUPERSEDED"

    async def test_a_retry_counts(self, limited: JobStore, full: list[UUID]) -> None:
        await limited.fail(full[1], "SILENT_AUDIO", "")
        await submitted(limited, LEARNER)
        with pytest.raises(TooManyJobs):
            await limited.retry(full[1], random_uuid7(), LONG)

    async def test_counting_costs_no_statement(self, database: Database, limited: JobStore) -> None:
        calls = (
            submitted(limited, LEARNER),
            limited.create(random_uuid7(), 1, LONG, "request", LEARNER),
        )
        for call in calls:
            assert len(await statements_of(database, call)) == 1


class TestAdoption:
    """A guest who signs up keeps the takes."""

    async def test_the_jobs_of_a_guest_belong_to_the_account(
        self, store: JobStore, owned: OwnedJobs
    ) -> None:
        job_ids = {await submitted(store, GUEST) for _ in range(3)}
        kept = [await submitted(store, owner) for owner in (OTHER_GUEST, OTHER_LEARNER, None)]
        assert await owned.adopt(GUEST, LEARNER) == 3
        assert await jobs_of(store, LEARNER) == job_ids
        owners = [await owner_of(store, job_id) for job_id in kept]
        assert owners == [OTHER_GUEST, OTHER_LEARNER, None]
        assert await owned.adopt(GUEST, LEARNER) == 0

    async def test_a_request_of_the_guest_can_be_repeated_by_the_account_alone(
        self, store: JobStore, owned: OwnedJobs
    ) -> None:
        first = await submitted(store, GUEST, "request")
        await owned.adopt(GUEST, LEARNER)
        assert await submitted(store, LEARNER, "request") == first
        assert await submitted(store, GUEST, "request") != first

    async def test_a_request_id_that_both_have_used_stays_with_the_account(
        self, store: JobStore, owned: OwnedJobs
    ) -> None:
        own = await submitted(store, LEARNER, "request")
        await submitted(store, GUEST, "request")
        assert await owned.adopt(GUEST, LEARNER) == 1
        assert await submitted(store, LEARNER, "request") == own

    async def test_many_jobs_are_adopted_in_batches(
        self, store: JobStore, owned: OwnedJobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.analysis.store.owned_jobs.BATCH", 2)
        job_ids = {await submitted(store, GUEST) for _ in range(5)}
        assert await owned.adopt(GUEST, LEARNER) == 5
        assert await jobs_of(store, LEARNER) == job_ids


class TestErasure:
    """All jobs of an owner are deleted as a client deletes one."""

    async def test_no_call_finds_the_jobs_of_an_erased_owner(
        self, store: JobStore, queue: JobQueue, owned: OwnedJobs
    ) -> None:
        opened, (dispatched, queued, completed, failed) = (
            random_uuid7(),
            [await submitted(store, LEARNER) for _ in range(4)],
        )
        await store.create(opened, 1, LONG, "request", LEARNER)
        assert await settled(queue, settlement_of.accepted(await claimed(queue), LONG, None, LONG))
        await store.complete(completed, RESULT, "1")
        await store.fail(failed, "SILENT_AUDIO", "")
        retry = random_uuid7()
        await store.retry(failed, retry, LONG)
        kept = await submitted(store, OTHER_LEARNER)

        assert await owned.erase(LEARNER) == 6
        for job_id in (opened, dispatched, queued, completed, failed, retry):
            with pytest.raises(JobNotFound):
                await store.get(job_id)
        assert (await store.get(kept)).state is State.QUEUED
        # Nothing of it is dispatched any more.
        assert [each.job_id for each in await claims_of(queue, State.QUEUED, 9, WORKER, LONG)] == [
            kept
        ]
        assert await owned.erase(LEARNER) == 0

    async def test_watchers_see_the_end_of_jobs_under_way(
        self, database: Database, store: JobStore
    ) -> None:
        changes: list[tuple[UUID, State]] = []
        waiting, ended = [await submitted(store, LEARNER) for _ in range(2)]
        await store.complete(ended, RESULT, "1")
        owned = OwnedJobs(database, lambda *change: changes.append(change))
        await owned.erase(LEARNER)
        assert changes == [(waiting, State.CANCELLED)]
        found = {job.job_id: job for job in await store.get_many([waiting, ended])}
        assert (found[waiting].state, found[waiting].failure_reason) == (
            State.CANCELLED,
            "CANCELLED",
        )
        assert (found[ended].state, found[ended].result) == (State.COMPLETED, RESULT)

    async def test_erased_jobs_are_pending_until_they_are_no_longer_stored(
        self, store: JobStore, owned: OwnedJobs, expired_jobs: ExpiredJobs
    ) -> None:
        for _ in range(3):
            await submitted(store, LEARNER)
        await owned.erase(LEARNER)
        assert await owned.erased(LEARNER) == 3
        found = await expired_jobs.find_deleted(NOW, 10)
        assert [key for _, key in found] == [RECORDING.object_key] * 3
        await expired_jobs.delete(job_id for job_id, _ in found)
        assert await owned.erased(LEARNER) == 0

    async def test_jobs_that_a_client_deleted_are_pending_as_well(
        self, database: Database, store: JobStore, owned: OwnedJobs
    ) -> None:
        await Deletions(database).delete(await submitted(store, LEARNER))
        assert await owned.erase(LEARNER) == 0
        assert await owned.erased(LEARNER) == 1

    async def test_an_erased_owner_can_use_its_request_ids_again(
        self, store: JobStore, owned: OwnedJobs
    ) -> None:
        await submitted(store, LEARNER, "request")
        await owned.erase(LEARNER)
        other = replace(submission(LEARNER, "request"), recording=OTHER_AUDIO)
        assert await store.submit(other, LONG, None) == other.job_id

    async def test_erasing_is_one_statement(
        self, database: Database, store: JobStore, owned: OwnedJobs
    ) -> None:
        for _ in range(5):
            await submitted(store, LEARNER)
        assert len(await statements_of(database, owned.erase(LEARNER))) == 1


async def test_a_request_id_of_the_former_release_still_belongs_to_its_job(
    database: Database, store: JobStore
) -> None:
    """It has no owner; a client without an account may repeat its request after a rollout."""
    former = await submitted(store, None)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE analysis.jobs SET request_id = 'request'"))
    assert await submitted(store, GUEST, "request") == former
    other = replace(submission(GUEST, "request"), recording=OTHER_AUDIO)
    with pytest.raises(RequestIdReused):
        await store.submit(other, LONG, None)
