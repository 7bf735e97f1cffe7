"""The circuit breaker in front of the analysis server. No I/O but reading a clock.

Workers ask it before they claim jobs. So a server that does not respond costs one probe
every few seconds, and the waiting jobs lose no attempts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf


class CircuitBreaker:
    """Allows all calls while they succeed; after failures in a row, one probe at a time."""

    def __init__(
        self, failures: int, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create a closed circuit breaker.

        failures: the number of failures in a row that opens it. pause_seconds: the time
        until the first probe, and from a failed probe until the next one. clock: returns
        seconds.
        """
        self._threshold = failures
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures = 0
        self._probe_time: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether only probes are allowed."""
        return self._probe_time is not None

    def allowance(self, wanted: int) -> int:
        """How many of the wanted calls are allowed now."""
        if self._probe_time is None:
            return wanted
        may_probe = not self._is_probing and self._clock() >= self._probe_time
        return min(wanted, 1) if may_probe else 0

    def seconds_until_probe(self) -> float:
        """Seconds until the next probe is allowed, 0 or more; infinite while one is under way."""
        if self._is_probing:
            return inf
        return 0.0 if self._probe_time is None else max(0.0, self._probe_time - self._clock())

    def began(self) -> None:
        """Record that a call starts; while the breaker is open, the call is the probe."""
        self._is_probing = self.is_open

    def succeeded(self) -> None:
        """Record that the server responded to a call."""
        self._failures, self._probe_time, self._is_probing = 0, None, False

    def failed(self) -> None:
        """Record that the server did not respond, or responded with a failure of its own."""
        self._failures += 1
        self._is_probing = False
        if self._failures >= self._threshold:
            self._probe_time = self._clock() + self._pause_seconds

    def abandoned(self) -> None:
        """Record that a call ended and showed nothing about the server."""
        self._is_probing = False
