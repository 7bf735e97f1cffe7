"""When each signing key is created, signs, and is published.

A key signs from its activation until that of the next key. It is published before its first use,
so that verifiers that cache the keys know it, and after its last, until its last token has
expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

PUBLISHED_BEFORE = timedelta(minutes=10)
"""How long a key is published before it signs; the gateway caches keys for 5 minutes."""

MARGIN = timedelta(minutes=10)
"""How much longer than its last token a key is published.

It covers clocks that differ, and a process that has not read the next key yet."""


@dataclass(frozen=True)
class KeyTimes:
    """A key and when it begins to sign."""

    kid: str
    activate_time: datetime


def signing_kid(keys: Iterable[KeyTimes], now: datetime) -> str | None:
    """The key that signs: the one that was activated last; None without one."""
    active = [key for key in _in_order(keys) if key.activate_time <= now]
    return active[-1].kid if active else None


def published_kids(
    keys: Iterable[KeyTimes], now: datetime, token_lifetime: timedelta
) -> frozenset[str]:
    """The keys that verifiers need. token_lifetime: of the access tokens that they sign."""
    ordered = _in_order(keys)
    ends = [key.activate_time + token_lifetime + MARGIN for key in ordered[1:]]
    ended = {key.kid for key, end in zip(ordered, ends, strict=False) if end <= now}
    return frozenset(key.kid for key in ordered) - ended


def next_activation(
    keys: Iterable[KeyTimes], now: datetime, key_lifetime: timedelta
) -> datetime | None:
    """When a key that has to be created now is activated; None if none has to be created.

    key_lifetime: how long a key signs. Without a key that signs, the new one signs immediately.
    """
    ordered = _in_order(keys)
    if signing_kid(ordered, now) is None:
        return now
    latest = ordered[-1].activate_time
    due = latest + key_lifetime
    if latest > now or now < due - PUBLISHED_BEFORE:
        return None
    return max(due, now + PUBLISHED_BEFORE)


def overdue(keys: Iterable[KeyTimes], now: datetime, key_lifetime: timedelta) -> timedelta:
    """How long the key that signs has been used beyond its lifetime; zero or less if it has not.

    Without a key that signs, nothing is overdue.
    """
    active = [key.activate_time for key in keys if key.activate_time <= now]
    return now - max(active) - key_lifetime if active else timedelta(0)


def _in_order(keys: Iterable[KeyTimes]) -> Sequence[KeyTimes]:
    return sorted(keys, key=lambda key: (key.activate_time, key.kid))
