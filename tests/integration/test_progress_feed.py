"""Watching jobs over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.analysis.errors import JobNotFound
from services.analysis.jobs import State
from services.analysis.notifications import JobNotifications
from services.analysis.progress import ProgressFeed
from services.analysis.store import JobStore
from services.runtime.database import Database
from services.runtime.errors import ShuttingDown
from tests.integration.jobs import LONG, RECORDING, opened


@pytest.fixture
def notices(database: Database) -> JobNotifications:
    return JobNotifications(database)


@pytest.fixture
def telling_store(database: Database, notices: JobNotifications, store: JobStore) -> JobStore:
    """A store whose changes are told."""
    return JobStore(database, notices.tell)


@pytest.fixture
async def feed(notices: JobNotifications, telling_store: JobStore) -> AsyncIterator[ProgressFeed]:
    feed = ProgressFeed(telling_store, heartbeat_seconds=60)
    listening = asyncio.Event()
    notices.follow(feed.changed, feed.missed)
    notices.follow(lambda *_: None, listening.set)
    running = asyncio.gather(notices.run(), feed.run())
    await listening.wait()
    yield feed
    running.cancel()


@pytest.fixture
async def job_id(telling_store: JobStore) -> UUID:
    return await opened(telling_store)


async def test_a_watcher_gets_the_state_and_every_change_to_the_end(
    feed: ProgressFeed, telling_store: JobStore, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    assert (await anext(states)).state is State.OPENED
    await telling_store.start_upload(job_id, LONG)
    assert (await anext(states)).state is State.UPLOADING
    await telling_store.fail_upload(job_id, "INCOMPLETE_UPLOAD")
    assert (await anext(states)).state is State.FAILED
    with pytest.raises(StopAsyncIteration):
        await anext(states)


async def test_a_watcher_that_goes_away_leaves_nothing(feed: ProgressFeed, job_id: UUID) -> None:
    async with aclosing(feed.watch(job_id)) as states:
        await anext(states)
        assert feed.watchers == 1
    assert feed.watchers == 0


async def test_an_unknown_job_leaves_nothing(feed: ProgressFeed) -> None:
    with pytest.raises(JobNotFound):
        await anext(feed.watch(uuid7()))
    assert feed.watchers == 0


async def test_a_slow_watcher_gets_the_newest_state_only(
    feed: ProgressFeed, telling_store: JobStore, job_id: UUID
) -> None:
    slow, quick = feed.watch(job_id), feed.watch(job_id)
    await anext(slow)
    await anext(quick)
    await telling_store.start_upload(job_id, LONG)
    await telling_store.attach(job_id, RECORDING, 1, LONG, None)
    await telling_store.complete(job_id, b"", "")
    while (await anext(quick)).state is not State.COMPLETED:
        pass
    assert (await anext(slow)).state is State.COMPLETED


async def test_every_change_is_told_to_those_who_follow(
    feed: ProgressFeed, notices: JobNotifications, telling_store: JobStore, job_id: UUID
) -> None:
    told: asyncio.Queue[tuple[UUID, State]] = asyncio.Queue()
    notices.follow(lambda *change: told.put_nowait(change), lambda: None)
    await telling_store.attach(job_id, RECORDING, 1, LONG, None)
    while await asyncio.wait_for(told.get(), 10) != (job_id, State.QUEUED):
        pass


async def test_many_changes_at_once_are_all_told(
    feed: ProgressFeed, notices: JobNotifications, telling_store: JobStore
) -> None:
    told: asyncio.Queue[UUID] = asyncio.Queue()
    notices.follow(lambda job_id, _: told.put_nowait(job_id), lambda: None)
    job_ids = {uuid7() for _ in range(500)}
    for job_id in job_ids:
        notices.tell(job_id, State.COMPLETED)
    while job_ids:
        job_ids.discard(await asyncio.wait_for(told.get(), 10))


async def test_a_stopping_server_ends_its_watchers(feed: ProgressFeed, job_id: UUID) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await feed.stop()
    with pytest.raises(ShuttingDown):
        _ = [state async for state in states]


async def test_what_changed_while_the_connection_was_cut_is_told_afterwards(
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
    # Changed by a process that tells nobody.
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD")
    assert (await asyncio.wait_for(anext(states), 30)).state is State.FAILED


async def test_what_a_dead_process_did_not_tell_is_found(
    feed: ProgressFeed, store: JobStore, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD")
    assert (await asyncio.wait_for(anext(states), 30)).state is State.FAILED
