"""Watching jobs over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.analysis.jobs import Recording, State
from services.analysis.progress import ProgressFeed
from services.analysis.store import JobStore
from services.runtime.database import Database
from services.runtime.errors import JobNotFound, ShuttingDown

HOUR = timedelta(hours=1)
RECORDING = Recording("recordings/1/x", 3, "audio/wav", bytes(32), "take.wav")


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
async def queued() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def feed(
    database: Database, store: JobStore, queued: asyncio.Event
) -> AsyncIterator[ProgressFeed]:
    feed = ProgressFeed(database, store, heartbeat_seconds=60, on_queued=queued.set)
    running = asyncio.create_task(feed.run())
    # Called once when the feed has begun to listen.
    await queued.wait()
    queued.clear()
    yield feed
    running.cancel()


@pytest.fixture
async def job_id(store: JobStore) -> UUID:
    job_id = uuid7()
    await store.open(job_id, 1, HOUR)
    return job_id


async def test_a_watcher_gets_the_state_and_every_change_to_the_end(
    feed: ProgressFeed, store: JobStore, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    assert (await anext(states)).state is State.OPENED
    await store.start_upload(job_id)
    assert (await anext(states)).state is State.UPLOADING
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD")
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
    feed: ProgressFeed, store: JobStore, job_id: UUID
) -> None:
    slow, quick = feed.watch(job_id), feed.watch(job_id)
    await anext(slow)
    await anext(quick)
    await store.start_upload(job_id)
    await store.attach(job_id, RECORDING)
    await store.complete(job_id, b"")
    while (await anext(quick)).state is not State.COMPLETED:
        pass
    assert (await anext(slow)).state is State.COMPLETED


async def test_a_job_that_becomes_due_wakes_the_worker(
    feed: ProgressFeed, store: JobStore, job_id: UUID, queued: asyncio.Event
) -> None:
    assert feed.watchers == 0
    await store.attach(job_id, RECORDING)
    await asyncio.wait_for(queued.wait(), 10)


async def test_a_stopping_server_ends_its_watchers(feed: ProgressFeed, job_id: UUID) -> None:
    states = feed.watch(job_id)
    await anext(states)
    feed.stop()
    with pytest.raises(ShuttingDown):
        _ = [state async for state in states]


async def test_what_changed_while_the_connection_was_cut_is_told_afterwards(
    feed: ProgressFeed, store: JobStore, database: Database, job_id: UUID
) -> None:
    states = feed.watch(job_id)
    await anext(states)
    connection = await database.listening_connection()
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'test-listen' AND pid <> pg_backend_pid()"
    )
    await store.fail_upload(job_id, "INCOMPLETE_UPLOAD")
    await connection.close()
    assert (await asyncio.wait_for(anext(states), 30)).state is State.FAILED
