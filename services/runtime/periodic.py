"""Background tasks that never end a service: periodic work, and loops that are restarted.

Every background loop of a service runs through this module. An unexpected error is logged,
and the loop continues after a back-off: a missing table, a lost connection or a bug in one
task must not end the process that serves calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from services.runtime.errors import SoriError

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PeriodicTask:
    """Work that repeats until it is cancelled.

    name: identifies the task in the logs, such as "upload reaper".
    work: one run. When it returns True, more work is waiting, and the next run starts
        without a pause.
    interval_seconds: the pause between two runs.
    jitter: by which share of the interval each pause varies at random, 0 to 1, so that
        replicas do not run in step.
    """

    name: str
    work: Callable[[], Awaitable[bool | None]]
    interval_seconds: float
    jitter: float = 0.1

    async def run(self) -> None:
        """Repeat the work; returns only when cancelled."""
        backoff = _Backoff()
        while True:
            try:
                has_more = await self.work()
            except Exception as error:
                _log_failure(self.name, error)
                await asyncio.sleep(max(self.interval_seconds, backoff.next_seconds()))
                continue
            backoff.reset()
            if not has_more:
                await asyncio.sleep(self._pause_seconds())

    def _pause_seconds(self) -> float:
        deviation = random.uniform(-self.jitter, self.jitter)  # noqa: S311 (no secret)
        return self.interval_seconds * (1 + deviation)


async def keep_running(
    name: str,
    loop: Callable[[], Awaitable[None]],
    *,
    max_backoff_seconds: float = MAX_BACKOFF_SECONDS,
) -> None:
    """Run an endless loop, and start it again whenever it fails; returns when it returns.

    name: identifies the loop in the logs.
    max_backoff_seconds: the longest pause before a new start; pauses double up to it.
    """
    backoff = _Backoff(max_backoff_seconds)
    while True:
        started = asyncio.get_running_loop().time()
        try:
            return await loop()
        except Exception as error:
            _log_failure(name, error)
        if asyncio.get_running_loop().time() - started > max_backoff_seconds:
            backoff.reset()
        await asyncio.sleep(backoff.next_seconds())


class _Backoff:
    """Pauses that double with each failure in a row."""

    def __init__(self, max_seconds: float = MAX_BACKOFF_SECONDS) -> None:
        self._max_seconds = max_seconds
        self.reset()

    def reset(self) -> None:
        self._seconds = min(FIRST_BACKOFF_SECONDS, self._max_seconds)

    def next_seconds(self) -> float:
        seconds = self._seconds
        self._seconds = min(2 * seconds, self._max_seconds)
        return seconds


def _log_failure(name: str, error: Exception) -> None:
    if isinstance(error, SoriError):
        _logger.warning("background task failed", task=name, reason=error.reason)
    else:
        _logger.error("background task failed unexpectedly", task=name, exc_info=error)
