"""Background loops survive every error, and pause as they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from services.runtime import periodic
from services.runtime.errors import DatabaseUnavailable
from services.runtime.periodic import PeriodicTask, keep_running

INSTANT = 0.001
NEVER = 3600.0


@pytest.fixture(autouse=True)
def instant_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "FIRST_BACKOFF_SECONDS", INSTANT)


@asynccontextmanager
async def running(loop: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """The loop as a task, cancelled at the end."""
    task = asyncio.ensure_future(loop)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class Runs:
    """Counts runs, and lets tests wait for them."""

    def __init__(self, *results: bool | Exception) -> None:
        self._results = iter(results)
        self._count = asyncio.Semaphore(0)

    async def run(self) -> bool:
        result = next(self._results, False)
        self._count.release()
        if isinstance(result, Exception):
            raise result
        return result

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(10):
            for _ in range(count):
                await self._count.acquire()

    @property
    def has_more(self) -> bool:
        return not self._count.locked()


async def test_work_repeats_until_cancelled() -> None:
    runs = Runs()
    async with running(PeriodicTask("test", runs.run, INSTANT).run()) as task:
        await runs.wait(3)
        assert not task.done()
    assert task.cancelled()


async def test_waiting_work_runs_without_a_pause() -> None:
    runs = Runs(True, True)
    async with running(PeriodicTask("test", runs.run, NEVER).run()):
        await runs.wait(3)


async def test_a_pause_follows_the_last_work() -> None:
    runs = Runs(True)
    async with running(PeriodicTask("test", runs.run, NEVER).run()) as task:
        await runs.wait(2)
        # Every run that is due by now would happen in this turn of the event loop.
        await asyncio.sleep(0)
        assert not runs.has_more
        assert not task.done()


@pytest.mark.parametrize(
    ("error", "level"), [(DatabaseUnavailable(), "warning"), (KeyError("bug"), "error")]
)
async def test_a_failed_run_is_logged_and_repeated(error: Exception, level: str) -> None:
    runs = Runs(error)
    with capture_logs() as logs:
        async with running(PeriodicTask("reaper of tests", runs.run, INSTANT).run()):
            await runs.wait(2)
    assert [(log["log_level"], log["task"]) for log in logs] == [(level, "reaper of tests")]


def test_jitter_keeps_pauses_near_the_interval() -> None:
    task = PeriodicTask("test", Runs().run, 10.0, jitter=0.2)
    pauses = {task._pause_seconds() for _ in range(200)}
    assert len(pauses) > 1
    assert all(8.0 <= pause <= 12.0 for pause in pauses)


def failing(times: int, then: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A loop that fails this often before it does something else."""
    left = iter(range(times))

    async def loop() -> None:
        if next(left, None) is not None:
            raise KeyError("bug")
        await then()

    return loop


async def nothing() -> None:
    return


async def test_a_failed_loop_is_started_again() -> None:
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await keep_running("test", failing(2, nothing))
    assert [log["event"] for log in logs] == ["background task failed unexpectedly"] * 2


async def test_a_loop_that_returns_is_not_started_again() -> None:
    async with asyncio.timeout(10):
        await keep_running("test", nothing)


async def test_a_running_loop_is_cancelled_with_its_keeper() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        started.set()
        try:
            await asyncio.sleep(NEVER)
        finally:
            ended.set()

    async with running(keep_running("test", loop)) as task:
        await asyncio.wait_for(started.wait(), 10)
    assert ended.is_set()
    assert task.cancelled()


def test_backoff_doubles_up_to_its_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "FIRST_BACKOFF_SECONDS", 1.0)
    backoff = periodic._Backoff(3.0)
    assert [backoff.next_seconds() for _ in range(4)] == [1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_seconds() == 1.0
