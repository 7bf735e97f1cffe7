"""The memory that uploads share."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.memory_budget import MemoryBudget


async def test_who_comes_first_is_served_first() -> None:
    budget = MemoryBudget(10)
    assert budget.try_acquire(8)
    served: list[str] = []

    async def take(name: str, size: int) -> None:
        await budget.acquire(size)
        served.append(name)

    large = asyncio.create_task(take("large", 9))
    await asyncio.sleep(0)
    small = asyncio.create_task(take("small", 1))
    await asyncio.sleep(0)
    assert not budget.try_acquire(1)
    assert served == []
    budget.release(8)
    await asyncio.gather(large, small)
    assert served == ["large", "small"]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    budget = MemoryBudget(10)
    budget.try_acquire(8)
    first = asyncio.create_task(budget.acquire(9))
    await asyncio.sleep(0)
    second = asyncio.create_task(budget.acquire(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert budget.free == 0


async def test_who_is_served_and_cancelled_at_once_keeps_nothing() -> None:
    budget = MemoryBudget(10)
    budget.try_acquire(10)
    waiting = asyncio.create_task(budget.acquire(5))
    await asyncio.sleep(0)
    budget.release(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.free == 10


async def test_more_than_there_is_is_never_waited_for() -> None:
    with pytest.raises(ValueError, match="exceed"):
        await MemoryBudget(10).acquire(11)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3)), max_size=40))
async def test_no_more_is_lent_than_there_is(borrowers: list[tuple[int, int]]) -> None:
    budget = MemoryBudget(10)

    async def borrow(size: int, turns: int) -> None:
        await budget.acquire(size)
        for _ in range(turns):
            assert 0 <= budget.free <= 10 - size
            await asyncio.sleep(0)
        budget.release(size)

    await asyncio.gather(*(borrow(*each) for each in borrowers))
    assert budget.free == 10
