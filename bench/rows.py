"""The rows of the table: what was measured, for whom, and which goal it meets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Goal:
    """A limit for our own figure or for the ratio of ours to the peer's.

    limit: the figure, or its multiple of the peer's if `is_ratio`.
    at_most: whether the figure may be at most the limit; otherwise it must be at least.
    """

    limit: float
    at_most: bool
    is_ratio: bool = False

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.limit:,.4g}{' × peer' if self.is_ratio else ''}"

    def value(self, peer: float | None) -> float | None:
        """The limit as one of our figures; None if it needs a peer and there is none."""
        if not self.is_ratio:
            return self.limit
        return self.limit * peer if peer else None

    def is_met(self, ours: float, ratio: float | None) -> bool | None:
        """Whether the figures meet it; None if it needs a peer and there is none."""
        value = ratio if self.is_ratio else ours
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ratio: ours divided by the peer's. met: None without a goal that can be judged.
    goal_value: the goal as one of our figures; None if there is none.
    """

    section: str
    name: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    goal: str
    unit: str
    met: bool | None
    goal_value: float | None

    @property
    def label(self) -> str:
        """The name with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


class Rows:
    """Collects the rows of one section."""

    def __init__(self, section: str) -> None:
        self._section = section
        self.all: list[Row] = []

    def add(
        self,
        name: str,
        unit: str,
        ours: float,
        goal: Goal | None = None,
        *,
        peer: float | None = None,
        peer_name: str = "",
    ) -> None:
        """Add a row."""
        ratio = ours / peer if peer else None
        met = goal.is_met(ours, ratio) if goal else None
        text, value = (str(goal), goal.value(peer)) if goal else ("", None)
        self.all.append(
            Row(self._section, name, ours, peer, peer_name, ratio, text, unit, met, value)
        )


def at_most(limit: float) -> Goal:
    """Our figure is at most this."""
    return Goal(limit, at_most=True)


def at_least(limit: float) -> Goal:
    """Our figure is at least this."""
    return Goal(limit, at_most=False)


def at_most_times(limit: float) -> Goal:
    """Our figure is at most this multiple of the peer's."""
    return Goal(limit, at_most=True, is_ratio=True)


def at_least_times(limit: float) -> Goal:
    """Our figure is at least this multiple of the peer's."""
    return Goal(limit, at_most=False, is_ratio=True)


def alternate(rounds: int, measures: Mapping[str, Callable[[], R]]) -> dict[str, list[R]]:
    """Run each measure once a round, in turn, so that a drift of the machine hits all alike."""
    results: dict[str, list[R]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def median(results: Iterable[R], figure: Callable[[R], float]) -> float:
    """The median of one figure of all rounds."""
    return statistics.median(map(figure, results))
