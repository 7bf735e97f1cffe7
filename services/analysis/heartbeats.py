"""Heartbeats of watchers: many at a time, spread over the interval.

A timer for each watcher would wake the process for each heartbeat, which costs four times as
much. Heartbeats of thousands of watchers in the same second would delay the changes of jobs.
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

MOMENTS = 128
"""Into how many moments an interval is divided."""


class Wakeable(Protocol):
    """Something that waits for heartbeats."""

    def wake(self) -> None:
        """End its wait."""


class Heartbeats:
    """Wakes each of its watchers once an interval."""

    def __init__(self, interval_seconds: float) -> None:
        self._pause_seconds = interval_seconds / MOMENTS
        self._due: list[set[Wakeable]] = [set() for _ in range(MOMENTS)]
        self._moments: dict[Wakeable, int] = {}
        self._now = 0
        self._arrived = asyncio.Event()

    def postpone(self, watcher: Wakeable) -> None:
        """Wake a watcher, a new one or a known one, after half an interval to a whole one.

        At random, so that watchers that came together are not woken together.
        """
        self.forget(watcher)
        pause = random.randint(MOMENTS // 2, MOMENTS)  # noqa: S311 (no secret)
        moment = (self._now + pause) % MOMENTS
        self._moments[watcher] = moment
        self._due[moment].add(watcher)
        self._arrived.set()

    def forget(self, watcher: Wakeable) -> None:
        """Wake a watcher no more."""
        if (moment := self._moments.pop(watcher, None)) is not None:
            self._due[moment].discard(watcher)

    def beat(self) -> None:
        """Go to the next moment, and wake the watchers that are due."""
        self._now = (self._now + 1) % MOMENTS
        for watcher in self._due[self._now]:
            watcher.wake()

    async def run(self) -> None:
        """Wake watchers until cancelled. Without watchers, no time passes here."""
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            if not self._moments:
                await self._arrived.wait()
            due = loop.time()
            while self._moments:
                due += self._pause_seconds
                await asyncio.sleep(due - loop.time())
                self.beat()
