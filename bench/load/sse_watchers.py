"""Watchers over HTTP, and the time from a webhook to their event."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from dataclasses import dataclass
from typing import cast

from bench.http1 import request_head
from bench.load import takes
from bench.load.analysis_server import InstantAnalysisServer, Job
from bench.load.figures import percentile_ms
from bench.processes import CpuMeter

_TAKE_BYTES = 4096
_OPENED_AT_ONCE = 50
_SETTLE_SECONDS = 2.0
_DEADLINE_SECONDS = 300
_TAIL_BYTES = 200


@dataclass(frozen=True)
class Settings:
    """What to watch.

    reports: webhooks, each for another watcher, `gap_seconds` apart.
    """

    port: int
    analysis_port: int
    watchers: int
    reports: int
    watched_seconds: float
    pids: dict[str, int]
    gap_seconds: float = 0.02


@dataclass(frozen=True)
class Result:
    """The time from the first byte of a webhook to the event; CPU time of idle programs."""

    p50_ms: float
    p99_ms: float
    idle_percent: dict[str, float]


class Watcher(asyncio.Protocol):
    """One stream of events.

    first: set at the first event. completed: the time of the event "completed".
    """

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._tail = b""
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = loop.create_future()
        self.completed: asyncio.Future[float] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        now, seen = time.perf_counter(), self._tail + data
        self._tail = seen[-_TAIL_BYTES:]
        if b"data:" in seen and not self.first.done():
            self.first.set_result(None)
        if b'"completed"' in seen and not self.completed.done():
            self.completed.set_result(now)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        for future in (self.first, self.completed):
            if not future.done():
                future.set_exception(error or ConnectionError("the stream ended"))
                # Watchers without a report are not awaited.
                future.exception()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


async def measure(settings: Settings) -> Result:
    """Watch as many jobs, then report some of them."""
    # A pause of this process would count as the product's.
    gc.disable()
    async with (
        InstantAnalysisServer(settings.analysis_port, "keep") as server,
        asyncio.timeout(_DEADLINE_SECONDS),
    ):
        sent = takes.Settings(
            settings.port, settings.analysis_port, settings.watchers, 16, {}, size=_TAKE_BYTES
        )
        await takes.send_takes(sent)
        await server.wait_dispatched(settings.watchers)
        jobs = server.dispatched[: settings.watchers]
        watchers = await _open(settings.port, jobs)
        await asyncio.sleep(_SETTLE_SECONDS)
        meter = CpuMeter(settings.pids)
        await asyncio.sleep(settings.watched_seconds)
        idle = meter.spent()
        durations = await _report(settings, server, list(zip(jobs, watchers, strict=True)))
        for watcher in watchers:
            watcher.close()
    percent = {name: spent / settings.watched_seconds * 100 for name, spent in idle.items()}
    return Result(percentile_ms(durations, 0.5), percentile_ms(durations, 0.99), percent)


async def _open(port: int, jobs: list[Job]) -> list[Watcher]:
    watchers: list[Watcher] = []
    for start in range(0, len(jobs), _OPENED_AT_ONCE):
        batch = jobs[start : start + _OPENED_AT_ONCE]
        watchers += await asyncio.gather(*(_watch(port, job) for job in batch))
    return watchers


async def _watch(port: int, job: Job) -> Watcher:
    path = f"/tokens/analysis-progress/{job['job_id']}"
    head = request_head("GET", path, port, Accept="text/event-stream")
    loop = asyncio.get_running_loop()
    _, watcher = await loop.create_connection(lambda: Watcher(head), "127.0.0.1", port)
    await watcher.first
    return watcher


async def _report(
    settings: Settings, server: InstantAnalysisServer, watched: list[tuple[Job, Watcher]]
) -> list[float]:
    async def one(job: Job, watcher: Watcher) -> float:
        began = time.perf_counter()
        await server.report(job)
        return await watcher.completed - began

    reports = []
    for job, watcher in random.sample(watched, min(settings.reports, len(watched))):
        reports.append(asyncio.create_task(one(job, watcher)))
        await asyncio.sleep(settings.gap_seconds)
    return await asyncio.gather(*reports)
