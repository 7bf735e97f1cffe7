"""Messages in memory: how many, how long, and none that changed while it was read."""

from __future__ import annotations

import pytest

from services.catalog.message_cache import ENTRY_BYTES, MessageCache
from services.runtime.serialized import Serialized

MESSAGE = Serialized(bytes(1000), "1-1")
SIZE = ENTRY_BYTES + 1000
ENTRY_SECONDS = 60.0
Key = tuple[int, bool]


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def fill(cache: MessageCache[Key], token_id: int, message: Serialized = MESSAGE) -> None:
    key = (token_id, True)
    cache.store(key, cache.reserve(key), message)


def holds(cache: MessageCache[Key], token_id: int) -> bool:
    return cache.get((token_id, True)) is not None


def test_the_memory_is_bounded_and_the_messages_read_last_stay() -> None:
    cache = MessageCache[Key](3 * SIZE, ENTRY_SECONDS)
    for token_id in (1, 2, 3):
        fill(cache, token_id)
    assert holds(cache, 1)
    fill(cache, 4)
    assert [holds(cache, token_id) for token_id in (1, 2, 3, 4)] == [True, False, True, True]
    assert cache.size == 3 * SIZE


def test_reservations_count_against_the_limit() -> None:
    cache = MessageCache[Key](3 * ENTRY_BYTES, ENTRY_SECONDS)
    for token_id in range(100):
        cache.reserve((token_id, True))
    assert cache.size == 3 * ENTRY_BYTES


def test_a_message_larger_than_the_memory_replaces_no_other() -> None:
    cache = MessageCache[Key](3 * SIZE, ENTRY_SECONDS)
    fill(cache, 1)
    fill(cache, 2, Serialized(bytes(3 * SIZE)))
    assert holds(cache, 1)
    assert not holds(cache, 2)


def test_an_entry_is_used_for_a_limited_time() -> None:
    clock = Clock()
    cache = MessageCache[Key](SIZE, ENTRY_SECONDS, clock)
    fill(cache, 1)
    clock.seconds = ENTRY_SECONDS - 1
    assert holds(cache, 1)
    clock.seconds = ENTRY_SECONDS
    assert not holds(cache, 1)


@pytest.mark.parametrize("clears_all", [False, True])
def test_a_message_that_changes_while_it_is_read_is_not_stored(clears_all: bool) -> None:
    cache = MessageCache[Key](10 * SIZE, ENTRY_SECONDS)
    reserved = cache.reserve((1, True))
    if clears_all:
        cache.clear()
    else:
        cache.remove((1, True))
    cache.store((1, True), reserved, MESSAGE)
    assert not holds(cache, 1)
    assert cache.size == 0


def test_a_message_is_stored_although_other_calls_read_it_meanwhile() -> None:
    cache = MessageCache[Key](10 * SIZE, ENTRY_SECONDS)
    key = (1, True)
    first, second = cache.reserve(key), cache.reserve(key)
    cache.release(key, second)
    cache.store(key, second, MESSAGE)
    cache.store(key, first, MESSAGE)
    assert holds(cache, 1)


def test_a_read_that_began_before_a_change_does_not_replace_one_that_began_after() -> None:
    cache = MessageCache[Key](10 * SIZE, ENTRY_SECONDS)
    key = (1, True)
    before = cache.reserve(key)
    cache.remove((1, True))
    after = cache.reserve(key)
    cache.store(key, before, Serialized(b"old"))
    assert not holds(cache, 1)
    cache.store(key, after, Serialized(b"new"))
    assert holds(cache, 1)


def test_a_failed_read_leaves_nothing_behind() -> None:
    cache = MessageCache[Key](10 * SIZE, ENTRY_SECONDS)
    cache.release((1, True), cache.reserve((1, True)))
    assert cache.size == 0
