"""The circuit breaker allows one probe at a time while the analysis server does not respond."""

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


def test_a_few_failures_do_not_open_it() -> None:
    breaker = CircuitBreaker(FAILURES, PAUSE, Clock())
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.allowance(16) == 16


def test_a_success_between_failures_resets_the_count() -> None:
    breaker = CircuitBreaker(FAILURES, PAUSE, Clock())
    for _ in range(FAILURES):
        breaker.failed()
        breaker.succeeded()
    assert breaker.allowance(16) == 16


def test_failures_in_a_row_open_it_until_a_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.allowance(16) == 0
    assert breaker.seconds_until_probe() == PAUSE
    clock.now += PAUSE
    assert breaker.allowance(16) == 1
    assert breaker.allowance(0) == 0


def test_only_one_probe_is_allowed_at_a_time() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    assert breaker.allowance(16) == 0


def test_another_pause_follows_a_failed_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.failed()
    assert breaker.allowance(16) == 0
    clock.now += PAUSE
    assert breaker.allowance(16) == 1


def test_another_probe_is_allowed_after_an_abandoned_one() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.abandoned()
    assert breaker.allowance(16) == 1


def test_a_successful_probe_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.began()
    breaker.succeeded()
    assert breaker.allowance(16) == 16


@given(st.lists(st.sampled_from(["began", "succeeded", "failed", "abandoned", "pause"])))
def test_it_always_allows_a_call_after_a_pause(events: list[str]) -> None:
    clock = Clock()
    breaker = CircuitBreaker(FAILURES, PAUSE, clock)
    for event in events:
        if event == "pause":
            clock.now += PAUSE
        else:
            getattr(breaker, event)()
    breaker.abandoned()
    clock.now += PAUSE
    assert breaker.allowance(16) >= 1
