"""Thousands of gRPC watchers on one process of analysis, and changes that they see."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
from google.api import httpbody_pb2

from bench.http2 import CallFailed, GrpcConnection
from bench.load.figures import percentile_ms
from bench.processes import CpuMeter, resident_bytes
from sori.analysis.v1 import analysis_pb2 as pb

_SERVICE = "/sori.analysis.v1.AnalysisService"
_PER_CONNECTION = 100
_OPENED_AT_ONCE = 100
_SETTLE_SECONDS = 3.0
_CHANGES_PER_SECOND = 100
_AFTERWARDS_SECONDS = 1.0
_DEADLINE_SECONDS = 300
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05
_OBJECT_KEY = "recordings/1/watched"
_INSERT = f"""
INSERT INTO analysis.jobs
    (job_id, token_id, state, progress, due_time, deadline,
     object_key, size, content_type, sha256, file_name)
SELECT
    job_id, 1, 'dispatched', 90, now() + interval '1 day', now() + interval '1 day',
    '{_OBJECT_KEY}', 1, 'audio/wav', '\\x00', 'take.wav'
FROM unnest($1::uuid[]) AS job_id
"""  # noqa: S608
_REPORT = httpbody_pb2.HttpBody(
    content_type="application/json", data=b'{"status": "processing", "progress": 50}'
)
_DELETE = "DELETE FROM analysis.jobs WHERE object_key = $1"


@dataclass(frozen=True)
class Settings:
    """What to watch.

    port: of the analysis service, which must accept reports without a signature.
    changes: reports of progress, 100 a second, each of another job.
    """

    port: int
    database_url: str
    watchers: int
    changes: int
    watched_seconds: float
    pids: dict[str, int]


@dataclass(frozen=True)
class Result:
    """From the report to the message at the watcher; memory per watcher; CPU while idle."""

    p50_ms: float
    p99_ms: float
    kilobytes_each: float
    idle_percent: float


class Watchers:
    """All open watches of one service."""

    def __init__(self, connections: list[GrpcConnection]) -> None:
        self._connections = connections
        self._changed: dict[UUID, float] = {}
        self.durations: list[float] = []

    async def open(self, job_ids: list[UUID]) -> None:
        """Watch these jobs; returns when each watcher has its snapshot."""
        for start in range(0, len(job_ids), _OPENED_AT_ONCE):
            batch = list(enumerate(job_ids))[start : start + _OPENED_AT_ONCE]
            await asyncio.gather(*(self._watch(number, job_id) for number, job_id in batch))

    async def report(self, job_id: UUID) -> None:
        """Change the progress of a job; as an analysis server does, repeat refused reports."""
        request = pb.ReportAnalysisRequest(job_id=str(job_id), report=_REPORT)
        self._changed[job_id] = time.perf_counter()
        connection = self._connections[-1]
        for _ in range(_ATTEMPTS):
            with suppress(CallFailed):
                await connection.unary(f"{_SERVICE}/ReportAnalysis", request.SerializeToString())
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch(self, number: int, job_id: UUID) -> None:
        connection = self._connections[number // _PER_CONNECTION]
        snapshot = asyncio.get_running_loop().create_future()
        request = pb.WatchAnalysisRequest(job_id=str(job_id)).SerializeToString()
        receive = self._receiver(job_id, snapshot)
        # The connection keeps the call until it is closed.
        _ = connection.call(f"{_SERVICE}/WatchAnalysis", request, receive)
        await snapshot

    def _receiver(self, job_id: UUID, snapshot: asyncio.Future[None]) -> Callable[[bytes], None]:
        def receive(_: bytes) -> None:
            # Heartbeats repeat the snapshot; a job without a pending change ignores them.
            if began := self._changed.pop(job_id, None):
                self.durations.append(time.perf_counter() - began)
            elif not snapshot.done():
                snapshot.set_result(None)

        return receive


async def measure(settings: Settings) -> Result:
    """Watch jobs that exist in the database only, and change some."""
    # A pause of this process would count as the product's.
    gc.disable()
    job_ids = [uuid4() for _ in range(settings.watchers)]
    database = await asyncpg.connect(settings.database_url)
    await database.execute(_INSERT, job_ids)
    count = settings.watchers // _PER_CONNECTION + 2
    connections = [await GrpcConnection.open(settings.port) for _ in range(count)]
    analysis = settings.pids["analysis"]
    before = resident_bytes(analysis)
    watchers = Watchers(connections)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await watchers.open(job_ids)
        await asyncio.sleep(_SETTLE_SECONDS)
        grown = resident_bytes(analysis) - before
        meter = CpuMeter({"analysis": analysis})
        await asyncio.sleep(settings.watched_seconds)
        idle = meter.spent()["analysis"]
        await _change(watchers, random.sample(job_ids, settings.changes))
    for connection in connections:
        connection.close()
    await database.execute(_DELETE, _OBJECT_KEY)
    await database.close()
    return Result(
        percentile_ms(watchers.durations, 0.5),
        percentile_ms(watchers.durations, 0.99),
        grown / settings.watchers / 1000,
        idle / settings.watched_seconds * 100,
    )


async def _change(watchers: Watchers, job_ids: list[UUID]) -> None:
    began, reports = time.perf_counter(), []
    for number, job_id in enumerate(job_ids, start=1):
        reports.append(asyncio.create_task(watchers.report(job_id)))
        due = began + number / _CHANGES_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*reports)
    await asyncio.sleep(_AFTERWARDS_SECONDS)
    if len(watchers.durations) < len(job_ids):
        raise RuntimeError(f"{len(job_ids) - len(watchers.durations)} changes were not seen")
