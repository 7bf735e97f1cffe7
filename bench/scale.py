"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True)
class Scale:
    """Sizes of all measurements.

    rounds: how often each competitor runs, in turn; the median counts.
    """

    rounds: int = 3
    takes: int = 400
    takes_one_at_a_time: int = 100
    counted_takes: int = 100
    large_bytes: int = 256 * MIB
    sixteenth_bytes: int = 32 * MIB
    read_seconds: float = 3.0
    tokens: int = 50_000
    jobs: int = 800
    sse_watchers: int = 1000
    sse_reports: int = 400
    grpc_watchers: int = 5000
    grpc_changes: int = 800
    watched_seconds: float = 15.0
    idle_seconds: float = 30.0


FULL = Scale()
SMOKE = Scale(
    rounds=1,
    takes=32,
    takes_one_at_a_time=4,
    counted_takes=16,
    large_bytes=32 * MIB,
    sixteenth_bytes=2 * MIB,
    read_seconds=0.5,
    tokens=200,
    jobs=40,
    sse_watchers=20,
    sse_reports=10,
    grpc_watchers=50,
    grpc_changes=50,
    watched_seconds=2.0,
    idle_seconds=2.0,
)
"""Shows that every section works; its figures mean nothing."""
