"""What an attack is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attack.target import Target

WAIT_LIMIT_MS = 250.0
"""How long any other client may wait during an attack, in milliseconds."""


@dataclass(frozen=True)
class Outcome:
    """What an attack saw, in a few words, and whether that is right."""

    seen: str
    is_right: bool


@dataclass(frozen=True)
class Attack:
    """An attack and the answer that it must get.

    run: performs it, within a few seconds.
    wait_limit_ms: how long another client may wait.
    why: the reason for another limit than `WAIT_LIMIT_MS`.
    """

    name: str
    expected: str
    run: Callable[[Target], Outcome]
    wait_limit_ms: float = WAIT_LIMIT_MS
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """An attack's outcome, and what others noticed of it.

    longest_wait_ms: the longest wait of the other client.
    failed_reads: the number of the other client's reads that failed.
    over_limit: a sentence for each program that needed more memory than its pod has.
    """

    attack: Attack
    outcome: Outcome
    longest_wait_ms: float
    failed_reads: int
    over_limit: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether the attack got the right answer and nobody else noticed it."""
        return (
            self.outcome.is_right
            and self.longest_wait_ms <= self.attack.wait_limit_ms
            and not self.failed_reads
            and not self.over_limit
        )
