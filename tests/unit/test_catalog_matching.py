"""Highlights of a search: which characters of a name a query matches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.matching import highlights, is_initials

NAMES = st.text(max_size=30) | st.text("수지배ㅅㅈ aé", max_size=10)


@given(NAMES, NAMES)
def test_ranges_lie_within_the_name_in_order_and_not_adjacent(name: str, query: str) -> None:
    ranges = highlights(name, query)
    assert all(0 <= start < end <= len(name) for start, end in ranges)
    assert all(end < start for (_, end), (start, _) in pairwise(ranges))


@given(st.text("수지배 abc", min_size=1, max_size=10).filter(str.strip))
def test_a_name_matches_all_of_itself(name: str) -> None:
    name = name.strip()
    assert highlights(name, name) == ((0, len(name)),)


def test_initials_are_consonants_only() -> None:
    assert is_initials("ㅅㅈ")
    assert is_initials("ㅅ ㅈ")
    assert not is_initials("수ㅈ")
    assert not is_initials("")
    assert not is_initials("sj")


def test_long_texts_are_not_compared_letter_by_letter() -> None:
    """Each of these letters is decomposed into 18: 100 matches would take half a minute."""
    assert highlights("\ufdfa" * 200, "\ufdfa" * 99 + "x") == ()
    assert highlights("\ufdfa" * 200, "\ufdfa" * 100) == ((0, 100),)


def test_the_parts_of_joined_initials_are_highlighted() -> None:
    assert highlights("김수현", "ㄳ") == highlights("김수현", "ㄱㅅ") == ((0, 2),)
    assert highlights("ㄳ 합니다", "ㄳ") == ((0, 1),)
