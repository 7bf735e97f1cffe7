"""Free attempts, growing delays, and exemptions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.accounts.attempts import (
    KNOWN_FOR,
    Limit,
    Policy,
    Record,
    Scope,
    guess_limits,
    mail_limits,
    retry_seconds,
    waits,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
POLICY = Policy(free=3, first_delay=SECOND, max_delay=MINUTE, recovery=10 * MINUTE)


def test_the_first_attempts_are_free() -> None:
    assert [POLICY.delay_after(count) for count in (1, 2)] == [timedelta()] * 2


def test_delays_double_up_to_the_longest() -> None:
    delays = [POLICY.delay_after(count) / SECOND for count in range(3, 11)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_delays_of_any_count_are_bounded() -> None:
    assert POLICY.delay_after(10**9) == MINUTE


def test_a_policy_without_free_attempts_is_unlimited() -> None:
    unlimited = Policy(0, SECOND, MINUTE, MINUTE)
    assert Record(1_000, NOW).wait(unlimited, NOW) == timedelta()


def test_an_attempt_waits_for_the_rest_of_the_delay() -> None:
    assert Record(5, NOW).wait(POLICY, NOW + SECOND) == 3 * SECOND


def test_the_count_falls_with_time() -> None:
    record = Record(5, NOW)
    assert record.with_attempt(POLICY, NOW + 25 * MINUTE).count == 4
    assert record.with_attempt(POLICY, NOW + timedelta(days=1)).count == 1


def test_a_clock_that_goes_back_forgives_nothing() -> None:
    assert Record(5, NOW).with_attempt(POLICY, NOW - MINUTE).count == 6


def test_free_attempts_do_not_wait_for_a_clock_that_went_back() -> None:
    assert Record(1, NOW).wait(POLICY, NOW - MINUTE) == timedelta()


@given(st.lists(st.integers(0, 3_600), min_size=1, max_size=200))
def test_an_attacker_gets_the_free_attempts_and_one_per_recovery(pauses: list[int]) -> None:
    record, now, admitted = Record(0, NOW), NOW, 0
    for pause in pauses:
        now += pause * SECOND
        if record.wait(POLICY, now) <= timedelta():
            record, admitted = record.with_attempt(POLICY, now), admitted + 1
    steep = 7  # by then, the delay is the longest
    recovered = (now - NOW) // POLICY.recovery
    in_delays = (now - NOW) // POLICY.max_delay
    assert admitted <= POLICY.free + steep + max(recovered, in_delays)


def test_a_record_expires_when_its_count_is_zero() -> None:
    record = Record(5, NOW)
    end = record.expire_time(POLICY)
    assert record.with_attempt(POLICY, end).count == 1
    assert record.with_attempt(POLICY, end - SECOND).count == 2


def test_a_known_address_stays_known_for_long() -> None:
    assert Record(5, NOW, is_known=True).expire_time(POLICY) == NOW + KNOWN_FOR


PAIR, ACCOUNT, ADDRESS = guess_limits("login", "a@example.com", "192.0.2.1", free=10)
MANY, NONE = Record(1_000, NOW), Record(0, NOW)


def refusals(pair: Record, account: Record, address: Record) -> set[Limit]:
    records = {PAIR: pair, ACCOUNT: account, ADDRESS: address}
    return set(waits([PAIR, ACCOUNT, ADDRESS], records, NOW))


def test_each_limit_refuses_by_itself() -> None:
    assert refusals(NONE, NONE, NONE) == set()
    assert refusals(MANY, NONE, NONE) == {PAIR}
    assert refusals(NONE, MANY, NONE) == {ACCOUNT}
    assert refusals(NONE, NONE, MANY) == {ADDRESS}


def test_strangers_cannot_lock_an_account_for_its_owner() -> None:
    known = Record(0, NOW, is_known=True)
    assert refusals(known, MANY, NONE) == set()


def test_a_known_address_is_limited_by_itself() -> None:
    known = Record(1_000, NOW, is_known=True)
    assert refusals(known, MANY, MANY) == {PAIR, ADDRESS}


def test_different_subjects_have_different_keys() -> None:
    limits = [
        *guess_limits("login", "a@example.com", "192.0.2.1", 10),
        *guess_limits("login", "b@example.com", "192.0.2.2", 10),
        *guess_limits("totp", "a@example.com", "192.0.2.1", 10),
        *mail_limits("a@example.com", "192.0.2.1", 10),
    ]
    assert len({limit.key for limit in limits}) == len(limits)


def test_keys_do_not_contain_addresses() -> None:
    assert all(len(limit.key) == 32 for limit in (PAIR, ACCOUNT, ADDRESS))
    assert {limit.scope for limit in (PAIR, ACCOUNT, ADDRESS)} == set(Scope)


def test_retry_after_is_at_least_a_second_and_rounds_up() -> None:
    assert [retry_seconds(wait * SECOND) for wait in (0.01, 1, 1.5)] == [1, 1, 2]
