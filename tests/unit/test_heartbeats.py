"""When watchers get heartbeats: each once an interval, never all at once."""

from __future__ import annotations

import asyncio

from services.analysis.heartbeats import MOMENTS, Heartbeats


class Watcher:
    """Notes the moments at which it was woken."""

    def __init__(self, heartbeats: Heartbeats) -> None:
        self.woken: list[int] = []
        self.moment = 0
        heartbeats.postpone(self)

    def wake(self) -> None:
        self.woken.append(self.moment)


def pass_moments(heartbeats: Heartbeats, watchers: list[Watcher], count: int) -> None:
    for _ in range(count):
        for watcher in watchers:
            watcher.moment += 1
        heartbeats.beat()


def test_every_watcher_is_woken_once_an_interval() -> None:
    heartbeats = Heartbeats(1.0)
    watchers = [Watcher(heartbeats) for _ in range(200)]
    pass_moments(heartbeats, watchers, 3 * MOMENTS)
    for watcher in watchers:
        assert MOMENTS // 2 <= watcher.woken[0] <= MOMENTS
        assert watcher.woken[1] == watcher.woken[0] + MOMENTS


def test_watchers_that_came_together_are_not_woken_together() -> None:
    heartbeats = Heartbeats(1.0)
    watchers = [Watcher(heartbeats) for _ in range(1_000)]
    pass_moments(heartbeats, watchers, MOMENTS)
    firsts = [watcher.woken[0] for watcher in watchers]
    # About 16 of 1,000 in each of the 64 moments of half an interval.
    assert max(firsts.count(moment) for moment in set(firsts)) < 80


def test_a_watcher_that_got_a_change_waits_again() -> None:
    heartbeats = Heartbeats(1.0)
    watcher = Watcher(heartbeats)
    for _ in range(10):
        pass_moments(heartbeats, [watcher], MOMENTS // 2 - 1)
        heartbeats.postpone(watcher)
    assert watcher.woken == []


def test_a_watcher_that_left_is_not_woken() -> None:
    heartbeats = Heartbeats(1.0)
    watcher = Watcher(heartbeats)
    heartbeats.forget(watcher)
    pass_moments(heartbeats, [watcher], MOMENTS)
    assert watcher.woken == []


class CountedHeartbeats(Heartbeats):
    """Counts its moments."""

    beats = 0

    def beat(self) -> None:
        self.beats += 1
        super().beat()


class WaitingWatcher:
    """Lets a test wait until it is woken."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()


async def watch_one_heartbeat(heartbeats: Heartbeats) -> None:
    watcher = WaitingWatcher()
    heartbeats.postpone(watcher)
    await watcher.woken.wait()
    heartbeats.forget(watcher)


async def test_no_moments_pass_without_watchers() -> None:
    heartbeats = CountedHeartbeats(0.001 * MOMENTS)
    running = asyncio.create_task(heartbeats.run())
    async with asyncio.timeout(10):
        await watch_one_heartbeat(heartbeats)
        beats = heartbeats.beats
        # As long as ten moments.
        await asyncio.sleep(0.01)
        assert heartbeats.beats <= beats + 1
        await watch_one_heartbeat(heartbeats)
    running.cancel()
