"""The progress feed on PostgreSQL: watchers see every change, and the end, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import pytest
from asyncpg import UndefinedColumnError
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.analysis.errors import JobNotFound
from services.analysis.jobs import State
from services.analysis.notifications import JobNotifications
from services.analysis.progress import NEW_JOB_SECONDS, ProgressFeed
from services.analysis.store import Deletions, ExpiredJobs, JobStore, Submission
from services.runtime.database import Database
from services.runtime.errors import ShuttingDown
from services.runtime.ids import random_uuid7
from tests.integration.analysis.faults import broken_schema
from tests.integration.analysis.jobs import LONG, RECORDING, opened
from tests.integration.plans import statements_of

PATIENCE_SECONDS = 30.0


@pytest.fixture
def notifications(database: Database) -> JobNotifications:
    return JobNotifications(database)


@pytest.fixture
def notifying_store(
    database: Database, notifications: JobNotifications, store: JobStore
) -> JobStore:
    """A store that notifies watchers; `store` acts like a process that died before it could."""
    return JobStore(database, notifications.notify)


@pytest.fixture
async def feed(
    notifications: JobNotifications, notifying_store: JobStore
) -> AsyncIterator[ProgressFeed]:
    feed = ProgressFeed(notifying_store, heartbeat_seconds=60)
    listening = asyncio.Event()
    notifications.subscribe(feed.changed, feed.missed)
    notifications.subscribe(lambda *_: None, listening.set)
    running = asyncio.gather(notifications.run(), feed.run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await listening.wait()
    yield feed
    running.cancel()


@pytest.fixture
async def job_id(notifying_store: JobStore) -> UUID:
    return await opened(notifying_store)


async def until_watched(feed: ProgressFeed) -> None:
    """Return when the feed has a watcher."""
    while not feed.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_watcher_gets_the_state_and_every_change_to_the_end(
    feed: ProgressFeed, notifying_store: JobStore, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    assert (await anext(states)).state is State.OPENED
    await notifying_store.start_upload(job_id, LONG)
    assert (await anext(states)).state is State.UPLOADING
    await notifying_store.fail_upload(job_id, "INCOMPLETE_UPLOAD", {})
    assert (await anext(states)).state is State.FAILED
    with pytest.raises(StopAsyncIteration):
        await anext(states)


async def test_a_watcher_of_a_deleted_job_gets_its_end(
    feed: ProgressFeed, database: Database, notifications: JobNotifications, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await Deletions(database, notifications.notify).delete(job_id)
    assert (await asyncio.wait_for(anext(states), PATIENCE_SECONDS)).state is State.CANCELLED
    with pytest.raises(StopAsyncIteration):
        await anext(states)


async def test_a_watch_ends_when_the_job_is_no_longer_stored(
    feed: ProgressFeed, database: Database, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await ExpiredJobs(database).delete([job_id])
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(anext(states), PATIENCE_SECONDS)


async def test_a_watcher_that_leaves_is_forgotten(feed: ProgressFeed, job_id: UUID) -> None:
    async with aclosing(feed.watch(job_id)) as states:
        await anext(states)
        assert feed.watchers == 1
    assert feed.watchers == 0


@pytest.mark.parametrize("minutes", [-5, 5], ids=["past", "future"])
async def test_a_watcher_of_an_unknown_job_is_forgotten_at_once(
    feed: ProgressFeed, minutes: int
) -> None:
    other_time = UUID(int=uuid7().int + (minutes * 60_000 << 80))
    with pytest.raises(JobNotFound):
        # A tenth of the time that a new id gets.
        await asyncio.wait_for(anext(feed.watch(other_time)), NEW_JOB_SECONDS / 10)
    assert feed.watchers == 0


async def test_a_watcher_waits_for_a_job_whose_id_is_new(
    feed: ProgressFeed, notifying_store: JobStore
) -> None:
    job_id = random_uuid7()
    states = feed.watch(job_id)
    first = asyncio.create_task(anext(states))
    await until_watched(feed)
    await notifying_store.submit(Submission(job_id, 1, RECORDING, 1), LONG, None)
    assert (await first).state is State.QUEUED
    await notifying_store.complete(job_id, b"", "")
    assert (await anext(states)).state is State.COMPLETED


async def test_a_watcher_waits_for_a_job_that_is_opened_later(
    feed: ProgressFeed, notifying_store: JobStore
) -> None:
    job_id = random_uuid7()
    first = asyncio.create_task(anext(feed.watch(job_id)))
    await until_watched(feed)
    await notifying_store.create(job_id, 1, LONG)
    assert (await first).state is State.OPENED


async def test_a_watch_of_a_new_id_ends_if_the_job_is_never_created(
    notifying_store: JobStore,
) -> None:
    feed = ProgressFeed(notifying_store, heartbeat_seconds=60, new_job_seconds=0.5)
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(anext(feed.watch(random_uuid7())), PATIENCE_SECONDS)
    assert feed.watchers == 0


async def test_a_watcher_of_a_job_of_another_owner_waits_as_for_an_unknown_one(
    feed: ProgressFeed, notifying_store: JobStore, job_id: UUID
) -> None:
    states, of_other = feed.watch(job_id), feed.watch(job_id, lambda _: False)
    await anext(states)
    waiting = asyncio.create_task(anext(of_other))
    while feed.watchers < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await notifying_store.start_upload(job_id, LONG)
    assert (await anext(states)).state is State.UPLOADING
    await feed.stop()
    # It has received neither the state nor the change, and not the end of an old id.
    with pytest.raises(ShuttingDown):
        await waiting


async def test_a_watch_of_a_job_of_another_owner_ends_as_if_there_were_no_job(
    notifying_store: JobStore, job_id: UUID
) -> None:
    feed = ProgressFeed(notifying_store, heartbeat_seconds=60, new_job_seconds=0.5)
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(anext(feed.watch(job_id, lambda _: False)), PATIENCE_SECONDS)


async def test_a_waiting_watch_reads_nothing_until_it_is_notified(
    database: Database, notifying_store: JobStore
) -> None:
    feed = ProgressFeed(notifying_store, heartbeat_seconds=60, new_job_seconds=1.0)

    async def watch() -> None:
        with pytest.raises(JobNotFound):
            await anext(feed.watch(random_uuid7()))

    # It reads at the start and at the end: the job, and whether it was deleted.
    assert len(await statements_of(database, watch())) <= 4


async def test_a_watch_of_a_deleted_job_ends_at_once(
    feed: ProgressFeed, database: Database, job_id: UUID
) -> None:
    await Deletions(database).delete(job_id)
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(anext(feed.watch(job_id)), NEW_JOB_SECONDS / 10)


async def test_a_stopping_server_ends_watches_of_jobs_that_are_not_created(
    feed: ProgressFeed,
) -> None:
    first = asyncio.create_task(anext(feed.watch(random_uuid7())))
    await until_watched(feed)
    await feed.stop()
    with pytest.raises(ShuttingDown):
        await first


async def test_a_slow_watcher_gets_only_the_newest_state(
    feed: ProgressFeed, notifying_store: JobStore, job_id: UUID
) -> None:
    slow, quick = feed.watch(job_id), feed.watch(job_id)
    await anext(slow)
    await anext(quick)
    await notifying_store.start_upload(job_id, LONG)
    await notifying_store.attach_recording(job_id, RECORDING, 1, LONG, None)
    await notifying_store.complete(job_id, b"", "")
    while (await anext(quick)).state is not State.COMPLETED:
        pass
    assert (await anext(slow)).state is State.COMPLETED


async def test_every_change_reaches_all_subscribers(
    feed: ProgressFeed, notifications: JobNotifications, notifying_store: JobStore, job_id: UUID
) -> None:
    received: asyncio.Queue[tuple[UUID, State]] = asyncio.Queue()
    notifications.subscribe(lambda *change: received.put_nowait(change), lambda: None)
    await notifying_store.attach_recording(job_id, RECORDING, 1, LONG, None)
    while await asyncio.wait_for(received.get(), PATIENCE_SECONDS) != (job_id, State.QUEUED):
        pass


async def test_many_changes_at_once_all_reach_subscribers(
    feed: ProgressFeed, notifications: JobNotifications
) -> None:
    received: asyncio.Queue[UUID] = asyncio.Queue()
    notifications.subscribe(lambda job_id, _: received.put_nowait(job_id), lambda: None)
    job_ids = {uuid7() for _ in range(500)}
    for job_id in job_ids:
        notifications.notify(job_id, State.COMPLETED)
    while job_ids:
        job_ids.discard(await asyncio.wait_for(received.get(), PATIENCE_SECONDS))


async def test_a_stopping_server_ends_its_watches(feed: ProgressFeed, job_id: UUID) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await feed.stop()
    with pytest.raises(ShuttingDown):
        _ = [state async for state in states]


async def test_a_change_during_an_interrupted_connection_arrives_afterwards(
    feed: ProgressFeed, store: JobStore, database: Database, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'test-listen'"
            )
        )
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD", {})
    assert (await asyncio.wait_for(anext(states), PATIENCE_SECONDS)).state is State.FAILED


async def test_a_change_without_a_notification_arrives(
    feed: ProgressFeed, store: JobStore, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD", {})
    assert (await asyncio.wait_for(anext(states), PATIENCE_SECONDS)).state is State.FAILED


async def test_a_change_survives_an_unexpected_error_of_the_feed(
    store: JobStore, database_url: str
) -> None:
    feed = ProgressFeed(store, heartbeat_seconds=60)
    job_id = await opened(store)
    states = feed.watch(job_id)
    await anext(states)
    await store.start_upload(job_id, LONG)
    feed.changed(job_id, State.UPLOADING)
    with broken_schema(database_url), pytest.raises(UndefinedColumnError):
        await asyncio.wait_for(feed.run(), PATIENCE_SECONDS)
    running = asyncio.create_task(feed.run())
    assert (await asyncio.wait_for(anext(states), PATIENCE_SECONDS)).state is State.UPLOADING
    running.cancel()


async def test_a_state_without_a_change_is_repeated(
    notifying_store: JobStore, job_id: UUID
) -> None:
    feed = ProgressFeed(notifying_store, heartbeat_seconds=0.5)
    running = asyncio.create_task(feed.run_heartbeats())
    states = feed.watch(job_id)
    first = await anext(states)
    for _ in range(3):
        assert await asyncio.wait_for(anext(states), PATIENCE_SECONDS) == first
    running.cancel()


async def test_a_comparison_finds_changed_and_missing_jobs_only(store: JobStore) -> None:
    same, changed, missing = await opened(store), await opened(store), uuid7()
    known = {each: (await store.get(each)).revision for each in (same, changed)}
    await store.start_upload(changed, LONG)
    comparison = await store.compare({**known, missing: 1})
    assert (comparison.changed, comparison.missing) == ({changed}, {missing})


async def test_a_job_whose_revision_is_unknown_counts_as_changed(store: JobStore) -> None:
    job_id = await opened(store)
    assert (await store.compare({job_id: None})).changed == {job_id}


async def test_a_watcher_that_began_before_another_gets_a_change_without_a_notification(
    feed: ProgressFeed, store: JobStore, job_id: UUID
) -> None:
    earlier = feed.watch(job_id)
    await anext(earlier)
    await store.start_upload(job_id, LONG)
    later = feed.watch(job_id)
    assert (await anext(later)).state is State.UPLOADING
    assert (await asyncio.wait_for(anext(earlier), PATIENCE_SECONDS)).state is State.UPLOADING
