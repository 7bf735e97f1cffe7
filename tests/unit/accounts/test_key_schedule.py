"""Signing keys change without a gap, whatever the lifetimes and however late the task runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.accounts.key_schedule import (
    PUBLISHED_BEFORE,
    KeyTimes,
    next_activation,
    published_kids,
    signing_kid,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = timedelta(seconds=600)
LIFETIME = timedelta(days=30)
VERIFIER_CACHE = timedelta(minutes=5)


def key(name: str, minutes: float) -> KeyTimes:
    return KeyTimes(name, START + timedelta(minutes=minutes))


def test_without_a_key_the_first_one_signs_immediately() -> None:
    assert next_activation([], START, LIFETIME) == START


def test_a_key_that_was_lost_before_its_successor_signs_is_replaced_immediately() -> None:
    assert next_activation([key("next", 10)], START, LIFETIME) == START


def test_the_next_key_is_published_ten_minutes_before_its_first_use() -> None:
    keys, due = [key("a", 0)], START + LIFETIME
    moment = due - PUBLISHED_BEFORE
    assert next_activation(keys, moment - timedelta(seconds=1), LIFETIME) is None
    assert next_activation(keys, moment, LIFETIME) == due


def test_a_late_key_is_published_as_long_before_its_first_use() -> None:
    late = START + LIFETIME + timedelta(days=1)
    assert next_activation([key("a", 0)], late, LIFETIME) == late + PUBLISHED_BEFORE


def test_only_one_next_key_is_created() -> None:
    keys = [key("a", 0), key("b", 10)]
    assert next_activation(keys, START, timedelta(0)) is None


def test_a_replaced_key_is_published_until_its_last_token_has_expired() -> None:
    keys = [key("a", 0), key("b", 10)]
    replaced = START + timedelta(minutes=10)
    assert "a" in published_kids(keys, replaced + TOKEN, TOKEN)
    assert "a" not in published_kids(keys, replaced + 2 * TOKEN, TOKEN)


@dataclass(frozen=True)
class Moment:
    """What a process signs with and publishes at one run of its task."""

    time: datetime
    signing: str | None
    published: frozenset[str]


def moments(lifetime: timedelta, pauses: Iterable[timedelta]) -> list[Moment]:
    """The runs of the task. pauses: between two runs."""
    keys: list[KeyTimes] = []
    found: list[Moment] = []
    now = START
    for pause in pauses:
        activation = next_activation(keys, now, lifetime)
        if activation is not None:
            keys.append(KeyTimes(str(len(found)), activation))
        published = published_kids(keys, now, TOKEN)
        keys = [each for each in keys if each.kid in published]
        found.append(Moment(now, signing_kid(keys, now), published))
        now += pause
    return found


SHORT = st.timedeltas(timedelta(seconds=1), timedelta(minutes=3))
OUTAGES = st.timedeltas(timedelta(minutes=3), timedelta(hours=30))


@given(
    st.timedeltas(timedelta(hours=1), timedelta(hours=6)),
    st.lists(st.one_of(SHORT, SHORT, OUTAGES), min_size=20, max_size=100),
)
def test_a_key_is_published_before_its_first_token_and_until_its_last_expires(
    lifetime: timedelta, pauses: list[timedelta]
) -> None:
    found = moments(lifetime, pauses)
    for signed in found:
        assert signed.signing is not None
        for other in found:
            distance = other.time - signed.time
            is_first_key = signed.signing == found[0].signing
            if is_first_key and distance < timedelta(0):
                continue
            if -VERIFIER_CACHE <= distance <= TOKEN:
                assert signed.signing in other.published
