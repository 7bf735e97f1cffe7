"""Batches: what comes while a write is under way is written together, each with its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.runtime.batches import Batches
from services.runtime.errors import DatabaseUnavailable

MOST_ITEMS = 4


class Writes:
    """Records batches; the answer to an item is its double. Negative items are refused.

    blocked: while it is not set, writes wait.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.unblocked = asyncio.Event()
        self.unblocked.set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        await self.unblocked.wait()
        if any(item < 0 for item in items):
            raise ValueError(items)
        return [2 * item for item in items]


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
def batches(writes: Writes) -> Batches[int, int]:
    return Batches(writes, lambda item: item, max_items=MOST_ITEMS, window_seconds=0)


async def test_items_that_come_during_a_write_are_the_next_batch(
    writes: Writes, batches: Batches[int, int]
) -> None:
    writes.unblocked.clear()
    first = asyncio.create_task(batches.run(1))
    await writes.started.wait()
    others = [asyncio.create_task(batches.run(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    writes.unblocked.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert writes.batches == [[1], [2, 3, 4]]


async def test_a_batch_has_a_limit(writes: Writes, batches: Batches[int, int]) -> None:
    await asyncio.gather(*(batches.run(item) for item in range(MOST_ITEMS + 1)))
    assert [len(batch) for batch in writes.batches] == [MOST_ITEMS, 1]


async def test_items_with_the_same_key_are_written_one_after_the_other(
    writes: Writes, batches: Batches[int, int]
) -> None:
    answers = await asyncio.gather(*map(batches.run, (1, 1, 2)))
    assert answers == [2, 2, 4]
    assert writes.batches == [[1, 2], [1]]


async def test_an_item_that_is_refused_does_not_concern_the_others(
    batches: Batches[int, int],
) -> None:
    answers = await asyncio.gather(*map(batches.run, (1, -2, 3)), return_exceptions=True)
    assert isinstance(answers.pop(1), ValueError)
    assert answers == [2, 6]


async def test_a_write_that_waits_for_a_lock_does_not_hold_others_back(
    writes: Writes, batches: Batches[int, int]
) -> None:
    writes.unblocked.clear()
    blocked = asyncio.create_task(batches.run(1))
    await writes.started.wait()
    writes.started.clear()
    other = asyncio.create_task(batches.run(2))
    await asyncio.wait_for(writes.started.wait(), 10)
    writes.unblocked.set()
    assert (await blocked, await other) == (2, 4)


async def test_an_item_is_written_although_its_caller_was_cancelled(
    writes: Writes, batches: Batches[int, int]
) -> None:
    writes.unblocked.clear()
    cancelled, other = [asyncio.create_task(batches.run(item)) for item in (1, 2)]
    await writes.started.wait()
    cancelled.cancel()
    writes.unblocked.set()
    assert await other == 4
    assert writes.batches == [[1, 2]]


async def test_an_unavailable_database_fails_all_items_of_a_batch() -> None:
    calls = 0

    async def unavailable(_: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise DatabaseUnavailable

    batches: Batches[int, int] = Batches(
        unavailable, lambda item: item, max_items=MOST_ITEMS, window_seconds=0
    )
    answers = await asyncio.gather(*map(batches.run, (1, 2)), return_exceptions=True)
    assert [type(each) for each in answers] == [DatabaseUnavailable] * 2
    assert calls == 1
