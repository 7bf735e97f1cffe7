"""Refresh tokens: a retry keeps the session, a stolen token ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.accounts.refresh_rules import Presented, Use, Verdict, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=10)
LIFETIME = timedelta(days=30)
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.9"


def presented(use: Use | None = None, *, is_revoked: bool = False) -> Presented:
    return Presented(START + LIFETIME, START if is_revoked else None, use)


def verdict(found: Presented | None, seconds: float = 0, address: str = HOME) -> Verdict:
    return judge(found, now=START + timedelta(seconds=seconds), address=address, grace=GRACE)


def test_an_unknown_token_ends_nothing() -> None:
    assert verdict(None) is Verdict.ENDED


def test_a_token_of_an_ended_session_is_not_exchanged() -> None:
    assert verdict(presented(is_revoked=True)) is Verdict.ENDED


def test_a_session_ends_without_a_refresh() -> None:
    assert verdict(presented(), LIFETIME.total_seconds()) is Verdict.ENDED


def test_a_token_is_exchanged() -> None:
    assert verdict(presented()) is Verdict.ROTATE


@pytest.mark.parametrize(
    ("seconds", "address", "is_latest", "expected"),
    [
        (10, HOME, True, Verdict.REPEAT),
        (11, HOME, True, Verdict.REUSED),
        (5, ELSEWHERE, True, Verdict.REUSED),
        (5, HOME, False, Verdict.REUSED),
    ],
)
def test_only_a_prompt_retry_of_the_same_client_gets_the_same_answer(
    seconds: float, address: str, is_latest: bool, expected: Verdict
) -> None:
    use = Use(START, HOME, is_latest)
    assert verdict(presented(use), seconds, address) is expected


@dataclass
class Party:
    """A holder of refresh tokens: the learner, or a thief."""

    address: str
    token: int | None


class RefreshModel(RuleBasedStateMachine):
    """A learner refreshes, loses answers and retries; a thief uses tokens that it has seen.

    Tokens are numbers: the successor of `n` is `n + 1`.
    """

    @initialize()
    def begin(self) -> None:
        self.now = START
        self.current = 0
        self.uses: dict[int, tuple[datetime, str]] = {}
        self.revoked: datetime | None = None
        self.learner = Party(HOME, 0)
        self.thief = Party(ELSEWHERE, None)

    def present(self, token: int, address: str) -> int | None:
        """Present a token; returns its successor, if there is one."""
        use = None
        if token in self.uses:
            time, used_at = self.uses[token]
            use = Use(time, used_at, token + 1 == self.current)
        found = Presented(START + 365 * LIFETIME, self.revoked, use)
        match judge(found, now=self.now, address=address, grace=GRACE):
            case Verdict.ROTATE:
                assert token == self.current
                self.uses[token] = (self.now, address)
                self.current = token + 1
                return self.current
            case Verdict.REPEAT:
                return token + 1
            case Verdict.REUSED:
                self.revoked = self.now
                return None
            case Verdict.ENDED:
                return None

    def exchange(self, party: Party) -> None:
        assert party.token is not None
        party.token = self.present(party.token, party.address)

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.learner.token is not None)
    @rule()
    def learner_refreshes(self) -> None:
        self.exchange(self.learner)

    @precondition(lambda self: self.learner.token is not None and self.thief.token is None)
    @rule(seconds=st.floats(0, 10))
    def learner_retries_after_a_lost_answer(self, seconds: float) -> None:
        assert self.learner.token is not None
        first = self.present(self.learner.token, HOME)
        self.now += timedelta(seconds=seconds)
        assert self.present(self.learner.token, HOME) == first
        self.learner.token = first

    @precondition(lambda self: self.learner.token is not None and self.thief.token is None)
    @rule()
    def thief_copies_the_token(self) -> None:
        self.thief.token = self.learner.token

    @precondition(lambda self: self.thief.token is not None)
    @rule()
    def thief_refreshes(self) -> None:
        self.exchange(self.thief)

    @invariant()
    def at_most_one_party_has_a_token_that_works(self) -> None:
        working = [
            party
            for party in (self.learner, self.thief)
            if party.token is not None and party.token == self.current and self.revoked is None
        ]
        has_copied = self.thief.token == self.learner.token
        assert len(working) <= 1 or has_copied

    @invariant()
    def without_a_thief_the_learner_stays_logged_in(self) -> None:
        assert (
            self.thief.token is not None
            or self.revoked is not None
            or (self.learner.token == self.current)
        )


TestRefreshModel = RefreshModel.TestCase
