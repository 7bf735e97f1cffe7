"""A dead analysis server gets one probe at a time, a live one everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.analysis.breaker import CircuitBreaker

FAILURES, PAUSE = 3, 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(FAILURES, PAUSE, clock)
    for _ in range(FAILURES):
        breaker.began()
        breaker.failed()
    return breaker


def test_few_failures_hold_nothing_back() -> None:
    breaker = CircuitBreaker(FAILURES, PAUSE, Clock())
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.allowance(16) == 16


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = CircuitBreaker(FAILURES, PAUSE, Clock())
    for _ in range(FAILURES):
        breaker.failed()
        breaker.succeeded()
    assert breaker.allowance(16) == 16


def test_failures_in_a_row_hold_everything_back_until_a_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.allowance(16) == 0
    assert breaker.seconds_until_probe() == PAUSE
    clock.now += PAUSE
    assert breaker.allowance(16) == 1
    assert breaker.allowance(0) == 0


def test_there_is_one_probe_at_a_time() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    assert breaker.allowance(16) == 0


def test_a_failed_probe_is_followed_by_another_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.failed()
    assert breaker.allowance(16) == 0
    clock.now += PAUSE
    assert breaker.allowance(16) == 1


def test_a_probe_that_told_nothing_is_followed_by_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.abandoned()
    assert breaker.allowance(16) == 1


def test_a_probe_that_succeeds_lets_everything_through() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.succeeded()
    assert breaker.allowance(16) == 16


@given(st.lists(st.sampled_from(["began", "succeeded", "failed", "abandoned", "pause"])))
def test_it_never_holds_back_for_ever(happenings: list[str]) -> None:
    clock = Clock()
    breaker = CircuitBreaker(FAILURES, PAUSE, clock)
    for happening in happenings:
        if happening == "pause":
            clock.now += PAUSE
        else:
            getattr(breaker, happening)()
    breaker.abandoned()
    clock.now += PAUSE
    assert breaker.allowance(16) >= 1
