"""Notifications between two processes: each gets every change, its own ones without PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from services.analysis.jobs import State
from services.analysis.notifications import JobNotifications
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from tests.integration.plans import statements_of

PATIENCE_SECONDS = 30.0


class Process:
    """The notifications of a process, and the changes that it has learned of."""

    def __init__(self, database: Database) -> None:
        self.notifications = JobNotifications(database)
        self.changes: asyncio.Queue[tuple[UUID, State]] = asyncio.Queue()
        self.listening = asyncio.Event()
        self.notifications.subscribe(
            lambda job_id, state: self.changes.put_nowait((job_id, state)), self.listening.set
        )

    async def next_change(self) -> tuple[UUID, State]:
        return await asyncio.wait_for(self.changes.get(), PATIENCE_SECONDS)


@pytest.fixture
async def processes(database: Database) -> AsyncIterator[list[Process]]:
    processes = [Process(database) for _ in range(2)]
    running = asyncio.gather(*(each.notifications.run() for each in processes))
    async with asyncio.timeout(PATIENCE_SECONDS):
        for each in processes:
            await each.listening.wait()
    yield processes
    running.cancel()


async def test_a_process_learns_of_its_own_change_at_once_and_once(
    processes: list[Process],
) -> None:
    own, other = processes
    change, last = [(random_uuid7(), State.COMPLETED) for _ in range(2)]
    own.notifications.notify(*change)
    assert own.changes.get_nowait() == change
    assert await other.next_change() == change
    # What follows shows that PostgreSQL sent the change back before, and it was not repeated.
    other.notifications.notify(*last)
    assert await own.next_change() == last


async def test_the_same_change_of_another_process_is_delivered_as_well(
    processes: list[Process],
) -> None:
    change = (random_uuid7(), State.QUEUED)
    for sender, receiver in (processes, processes[::-1]):
        sender.notifications.notify(*change)
        assert sender.changes.get_nowait() == change
        assert await receiver.next_change() == change


async def test_the_steps_of_a_take_go_in_one_notification(
    database: Database, processes: list[Process]
) -> None:
    own, other = processes
    job_id = random_uuid7()

    async def live() -> None:
        for state in (State.DISPATCHED, State.DISPATCHED, State.COMPLETED):
            own.notifications.notify(job_id, state)
        assert await other.next_change() == (job_id, State.COMPLETED)

    assert len(await statements_of(database, live())) == 1
