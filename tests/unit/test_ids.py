"""Ids that act as capabilities cannot be derived from one another."""

from __future__ import annotations

import time
from uuid import RFC_4122

from services.runtime.ids import random_uuid7, unix_seconds_of


def test_ids_of_one_millisecond_share_no_random_bits() -> None:
    ids = [random_uuid7() for _ in range(1_000)]
    assert all(each.version == 7 and each.variant == RFC_4122 for each in ids)
    # `rand_a`, which generators that count keep for a whole millisecond.
    assert len({each.int >> 64 & 0xFFF for each in ids}) > 500
    assert len({each.int >> 32 & 0x3FFFFFFF for each in ids}) == len(ids)


def test_ids_are_ordered_by_their_milliseconds() -> None:
    milliseconds = [random_uuid7().int >> 80 for _ in range(1_000)]
    assert milliseconds == sorted(milliseconds)


def test_an_id_tells_when_it_was_generated() -> None:
    before = time.time()
    generated = unix_seconds_of(random_uuid7())
    # The id counts milliseconds.
    assert before - 0.001 <= generated <= time.time()
