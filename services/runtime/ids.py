"""Ids that act as capabilities: a caller that knows one may use what it identifies."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

_RANDOM_BITS = 80
_VERSION, _VARIANT = 0x7 << 76, 0x2 << 62
_VERSION_MASK, _VARIANT_MASK = 0xF << 76, 0x3 << 62


def random_uuid7() -> UUID:
    """A UUIDv7 with 74 bits of fresh randomness.

    Generators that count within a millisecond change only 32 bits between two ids, so one
    id would reveal most of the next.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    value = value & ~_VERSION_MASK | _VERSION
    return UUID(int=value & ~_VARIANT_MASK | _VARIANT)


def unix_seconds_of(uuid7: UUID) -> float:
    """When a UUIDv7 was generated, by the clock of the process that did; any UUID has a value."""
    return (uuid7.int >> _RANDOM_BITS) / 1000
