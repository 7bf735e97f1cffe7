"""The memory budget that all uploads of a process share."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload import part_buffer
from services.upload.memory_budget import MemoryBudget
from services.upload.part_buffer import BORROW_BYTES, PartBuffer


async def test_waiting_uploads_receive_memory_in_order() -> None:
    budget = MemoryBudget(10)
    assert budget.try_acquire(8)
    acquired: list[str] = []

    async def acquire(name: str, size: int) -> None:
        await budget.acquire(size)
        acquired.append(name)

    large = asyncio.create_task(acquire("large", 9))
    await asyncio.sleep(0)
    small = asyncio.create_task(acquire("small", 1))
    await asyncio.sleep(0)
    assert not budget.try_acquire(1)
    assert acquired == []
    budget.release(8)
    await asyncio.gather(large, small)
    assert acquired == ["large", "small"]


async def test_a_cancelled_wait_blocks_no_other_upload() -> None:
    budget = MemoryBudget(10)
    budget.try_acquire(8)
    first = asyncio.create_task(budget.acquire(9))
    await asyncio.sleep(0)
    second = asyncio.create_task(budget.acquire(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert budget.free == 0


async def test_an_upload_cancelled_right_after_it_acquired_memory_returns_it() -> None:
    budget = MemoryBudget(10)
    budget.try_acquire(10)
    waiting = asyncio.create_task(budget.acquire(5))
    await asyncio.sleep(0)
    budget.release(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.free == 10


async def test_a_request_beyond_the_budget_fails_immediately() -> None:
    with pytest.raises(ValueError, match="exceed"):
        await MemoryBudget(10).acquire(11)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3)), max_size=40))
async def test_uploads_never_hold_more_than_the_budget(uploads: list[tuple[int, int]]) -> None:
    budget = MemoryBudget(10)

    async def upload(size: int, turns: int) -> None:
        await budget.acquire(size)
        for _ in range(turns):
            assert 0 <= budget.free <= 10 - size
            await asyncio.sleep(0)
        budget.release(size)

    await asyncio.gather(*(upload(*each) for each in uploads))
    assert budget.free == 10


async def test_a_cancelled_waiter_does_not_disturb_a_release() -> None:
    budget = MemoryBudget(10)
    assert budget.try_acquire(5)
    waiting = asyncio.create_task(budget.acquire(8))
    await asyncio.sleep(0)
    waiting.cancel()
    # The cancelled task has not run yet.
    budget.release(5)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.free == 10


async def test_an_upload_that_waits_holds_no_memory() -> None:
    budget = MemoryBudget(2 * BORROW_BYTES)
    buffers = [PartBuffer(5 * BORROW_BYTES, (), budget) for _ in range(2)]
    for buffer in buffers:
        assert buffer.try_reserve(BORROW_BYTES)
    # Both need more than the other leaves; the first gets it once it has released its own.
    async with asyncio.timeout(5):
        for buffer in buffers:
            assert not buffer.try_reserve(2 * BORROW_BYTES)
        waiting = [asyncio.create_task(each.reserve(2 * BORROW_BYTES)) for each in buffers]
        await waiting[0]
        buffers[0].release()
        await waiting[1]


async def test_an_upload_waits_a_moment_for_memory_that_becomes_free() -> None:
    budget = MemoryBudget(3 * BORROW_BYTES)
    first, second = (PartBuffer(5 * BORROW_BYTES, (), budget) for _ in range(2))
    assert first.try_reserve(2 * BORROW_BYTES)
    assert second.try_reserve(BORROW_BYTES)
    second.append(bytes(BORROW_BYTES))
    waiting = asyncio.create_task(second.reserve_soon(BORROW_BYTES))
    await asyncio.sleep(0)
    first.release()
    assert await waiting


async def test_an_upload_that_holds_memory_does_not_wait_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(part_buffer, "PATIENCE_SECONDS", 0)
    budget = MemoryBudget(BORROW_BYTES)
    buffer = PartBuffer(5 * BORROW_BYTES, (), budget)
    assert buffer.try_reserve(BORROW_BYTES)
    buffer.append(bytes(BORROW_BYTES))
    assert not await buffer.reserve_soon(BORROW_BYTES)
    buffer.release()
    assert budget.free == BORROW_BYTES


def test_the_peak_is_the_highest_loan_since_the_last_call() -> None:
    budget = MemoryBudget(10)
    assert budget.try_acquire(7)
    budget.release(4)
    assert budget.take_peak() == 7
    assert budget.take_peak() == budget.lent == 3
