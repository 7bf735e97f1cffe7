"""A circuit breaker in front of the analysis server. Pure but for its clock.

It is asked before jobs are claimed, so that a dead server costs one probe every
few seconds, and nothing of the jobs that wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed while calls succeed; opened by failures in a row; then one probe at a time."""

    def __init__(
        self, failures: int, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make a closed one.

        failures: how many in a row open it. pause_seconds: how long until a probe, and
        after a failed probe until the next.
        """
        self._threshold = failures
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures = 0
        self._probe_time: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls other than probes are held back."""
        return self._probe_time is not None

    def allowance(self, wanted: int) -> int:
        """How many of the calls that are wanted may be made now."""
        if self._probe_time is None:
            return wanted
        return min(wanted, 1) if not self._probing and self._clock() >= self._probe_time else 0

    def seconds_until_probe(self) -> float:
        """How long until the next probe may be made; 0 or more."""
        return 0.0 if self._probe_time is None else max(0.0, self._probe_time - self._clock())

    def began(self) -> None:
        """A call is made: while open, the probe."""
        self._probing = self.is_open

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures, self._probe_time, self._probing = 0, None, False

    def failed(self) -> None:
        """A call was not answered, or with the server's own failure."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._threshold:
            self._probe_time = self._clock() + self._pause_seconds

    def abandoned(self) -> None:
        """A call ended without telling anything of the server."""
        self._probing = False
