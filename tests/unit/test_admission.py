"""Recordings are admitted a few at a time, in the order of their calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.analysis.admission import MAX_ADMITTED, Admission


class Calls:
    """Calls that end when a test ends them."""

    def __init__(self) -> None:
        self.is_busy = False
        self.admission = Admission(lambda: self.is_busy)
        self.admitted: list[int] = []
        self._ends: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def start(self, *numbers: int) -> None:
        """Start calls, in this order."""
        for number in numbers:
            self._ends[number] = asyncio.Event()
            self._tasks[number] = asyncio.create_task(self._call(number))
            await asyncio.sleep(0)

    async def end(self, number: int) -> None:
        """End an admitted call."""
        self._ends[number].set()
        await self._tasks[number]
        await asyncio.sleep(0)

    def leave(self, number: int) -> None:
        """Let an admitted call end, without waiting for it."""
        self._ends[number].set()

    async def cancel(self, number: int) -> None:
        """Cancel a call, as gRPC does when the caller is gone."""
        self._tasks[number].cancel()
        await asyncio.wait([self._tasks[number]])
        await asyncio.sleep(0)

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _call(self, number: int) -> None:
        async with self.admission.admitted():
            self.admitted.append(number)
            await self._ends[number].wait()


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    calls = Calls()
    yield calls
    calls.close()


FIRST = range(MAX_ADMITTED)
NEXT = MAX_ADMITTED


async def test_calls_above_the_limit_wait_in_order(calls: Calls) -> None:
    await calls.start(*FIRST, NEXT, NEXT + 1)
    assert calls.admitted == list(FIRST)
    await calls.end(2)
    assert calls.admitted == [*FIRST, NEXT]
    await calls.end(0)
    assert calls.admitted == [*FIRST, NEXT, NEXT + 1]


async def test_a_busy_process_admits_one_call_at_a_time(calls: Calls) -> None:
    calls.is_busy = True
    await calls.start(0, 1, 2)
    assert calls.admitted == [0]
    await calls.end(0)
    assert calls.admitted == [0, 1]


async def test_all_places_are_used_again_when_the_process_is_no_longer_busy(calls: Calls) -> None:
    calls.is_busy = True
    await calls.start(0, 1, 2, 3)
    calls.is_busy = False
    await calls.end(0)
    assert calls.admitted == [0, 1, 2, 3]


async def test_a_call_that_is_cancelled_while_it_waits_takes_no_place(calls: Calls) -> None:
    await calls.start(*FIRST, NEXT, NEXT + 1)
    await calls.cancel(NEXT)
    await calls.end(0)
    assert calls.admitted == [*FIRST, NEXT + 1]


async def test_a_call_that_is_cancelled_at_its_turn_passes_it_on(calls: Calls) -> None:
    await calls.start(*FIRST, NEXT, NEXT + 1)
    calls.leave(0)
    await asyncio.sleep(0)
    # The turn of the next call has come, but it has not run since.
    await calls.cancel(NEXT)
    assert calls.admitted == [*FIRST, NEXT + 1]


async def test_a_cancelled_call_leaves_its_place(calls: Calls) -> None:
    await calls.start(*FIRST, NEXT)
    await calls.cancel(0)
    assert calls.admitted == [*FIRST, NEXT]
