"""Figures that drivers make of what they measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def percentile_ms(seconds: Collection[float], share: float) -> float:
    """The value in ms below which this share of the durations is; 0 without durations."""
    ordered = sorted(seconds)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def each_ms(spent: Mapping[str, float], times: int) -> dict[str, float]:
    """CPU milliseconds by program for one of this many requests."""
    return {name: seconds / times * 1000 for name, seconds in spent.items()}
