"""Limits on attempts: some are free, later ones must wait longer and longer. Pure.

Attempts are counted for a key, such as an account or a network address. A policy admits its
`free` attempts at once. Then it demands a pause before each further one, which doubles up to
`max_delay`. A count falls by one in each `recovery`: the honest mistakes of a school behind one
address do not add up, and in the long run an attacker gets one attempt per `recovery` or per
`max_delay`, whichever is shorter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

KNOWN_FOR = timedelta(days=90)
"""How long an address from which a learner logged in stays known for the account."""

_MAX_DOUBLINGS = 30
_ZERO = timedelta()


@dataclass(frozen=True)
class Policy:
    """The limit on one kind of attempts.

    free: number of attempts without a pause; 0: unlimited. first_delay: the pause after them.
    max_delay: the longest pause. recovery: the time in which the count falls by one.
    """

    free: int
    first_delay: timedelta
    max_delay: timedelta
    recovery: timedelta

    def delay_after(self, count: int) -> timedelta:
        """The pause that follows the attempt with this number, 1 or more."""
        if not self.free or count < self.free:
            return _ZERO
        factor: int = 2 ** min(count - self.free, _MAX_DOUBLINGS)
        return min(self.first_delay * factor, self.max_delay)


class Scope(StrEnum):
    """The subject for which attempts are counted."""

    PAIR = "pair"
    """An account, from one network address. A success clears the count, and makes the address
    known for the account."""
    ACCOUNT = "account"
    """An account, from all network addresses that are not known for it, so that strangers can't
    lock it for its owner. A success clears the count."""
    ADDRESS = "address"
    """A network address. Many learners may share it, so a success removes only its own attempt
    from the count."""


@dataclass(frozen=True)
class Limit:
    """A limit on one subject. purpose: the kind of attempts, such as "login"."""

    purpose: str
    scope: Scope
    subject: str
    policy: Policy

    @property
    def key(self) -> bytes:
        """The name in the database; a hash, because the subject may be an e-mail address."""
        return hashlib.sha256(f"{self.purpose} {self.scope} {self.subject}".encode()).digest()


@dataclass(frozen=True)
class Record:
    """The attempts for one key. count: 0 or more. time: of the last one.

    is_known: whether the network address is known for the account.
    """

    count: int
    time: datetime
    is_known: bool = False

    def wait(self, policy: Policy, now: datetime) -> timedelta:
        """How long the next attempt must wait; zero or less if it may happen now."""
        delay = policy.delay_after(self._count_at(policy, now))
        # Without a delay, the last attempt may be in the future of a clock that went back.
        return self.time + delay - now if delay else _ZERO

    def with_attempt(self, policy: Policy, now: datetime) -> Record:
        """The record after an attempt, which counts as a failure until it succeeds."""
        return replace(self, count=self._count_at(policy, now) + 1, time=now)

    def expire_time(self, policy: Policy) -> datetime:
        """When the record has no effect any more, and can be deleted."""
        recovered = self.time + self.count * policy.recovery
        return max(recovered, self.time + KNOWN_FOR) if self.is_known else recovered

    def _count_at(self, policy: Policy, now: datetime) -> int:
        elapsed = max(now - self.time, _ZERO)
        return max(self.count - elapsed // policy.recovery, 0)


def waits(
    limits: Sequence[Limit], records: Mapping[Limit, Record], now: datetime
) -> dict[Limit, timedelta]:
    """The limits that refuse an attempt, with the pause that each demands."""
    is_known = any(record.is_known for record in records.values())
    found = {
        limit: records[limit].wait(limit.policy, now)
        for limit in limits
        if not (is_known and limit.scope is Scope.ACCOUNT)
    }
    return {limit: wait for limit, wait in found.items() if wait > _ZERO}


def retry_seconds(wait: timedelta) -> int:
    """A pause in whole seconds, at least one, as `Retry-After` states it."""
    return max(math.ceil(wait.total_seconds()), 1)


_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
_GUESSES_OF_PAIR = Policy(5, _SECOND, 15 * _MINUTE, recovery=10 * _MINUTE)
_GUESSES_OF_ACCOUNT = Policy(20, _SECOND, 15 * _MINUTE, recovery=10 * _MINUTE)
_MAILS_OF_PAIR = Policy(5, _MINUTE, _HOUR, recovery=10 * _MINUTE)
_MAILS_TO_RECIPIENT = Policy(20, _MINUTE, _HOUR, recovery=10 * _MINUTE)


def guess_limits(purpose: str, account: str, address: str, free: int) -> tuple[Limit, ...]:
    """The limits on guesses of a secret, such as a password.

    account: its e-mail address or id. address: of the client. free: for the network address.
    """
    return (
        Limit(purpose, Scope.PAIR, f"{account} {address}", _GUESSES_OF_PAIR),
        Limit(purpose, Scope.ACCOUNT, account, _GUESSES_OF_ACCOUNT),
        address_limit(purpose, address, free),
    )


def address_limit(purpose: str, address: str, free: int) -> Limit:
    """The limit on attempts from one network address. free: attempts without a pause."""
    policy = Policy(free, _SECOND, _MINUTE, recovery=10 * _SECOND)
    return Limit(purpose, Scope.ADDRESS, address, policy)


def mail_limits(recipient: str, address: str, free: int) -> tuple[Limit, ...]:
    """The limits on mails that a caller causes. address: of the client. free: for it."""
    of_address = Policy(free, 5 * _SECOND, 10 * _MINUTE, recovery=30 * _SECOND)
    return (
        Limit("mail", Scope.PAIR, f"{recipient} {address}", _MAILS_OF_PAIR),
        Limit("mail", Scope.ACCOUNT, recipient, _MAILS_TO_RECIPIENT),
        Limit("mail", Scope.ADDRESS, address, of_address),
    )
