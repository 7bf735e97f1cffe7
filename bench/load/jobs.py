"""Jobs without audio: opened and attached over gRPC, and completed by an instant server."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

from bench.http2 import GrpcConnection
from bench.load.analysis_server import InstantAnalysisServer
from bench.load.figures import each_ms
from bench.processes import CpuMeter, send_signal
from sori.analysis.v1 import analysis_pb2 as pb

_SERVICE = "/sori.analysis.v1.AnalysisIntakeService"
_AT_ONCE = 32
_CONNECTIONS = 4
_POLL_SECONDS = 0.03
_DEADLINE_SECONDS = 300
_WARM_UP_JOBS = 50
_UNFINISHED = (
    "SELECT count(*) FROM analysis.jobs WHERE due_time IS NOT NULL AND object_key LIKE $1 || '%'"
)


@dataclass(frozen=True)
class Settings:
    """What to do.

    port: of the analysis service. worker_pid: frozen while jobs are opened if `drains`.
    """

    port: int
    analysis_port: int
    database_url: str
    jobs: int
    worker_pid: int
    drains: bool
    pids: dict[str, int]


@dataclass(frozen=True)
class Result:
    """Completed jobs per second, and CPU time by program for one job."""

    per_second: float
    cpu_ms: dict[str, float]


async def measure(settings: Settings) -> Result:
    """Open jobs, and wait until all are completed."""
    connections = [await GrpcConnection.open(settings.port) for _ in range(_CONNECTIONS)]
    database = await asyncpg.connect(settings.database_url)
    async with (
        InstantAnalysisServer(settings.analysis_port, "inline"),
        asyncio.timeout(_DEADLINE_SECONDS),
    ):
        await _wait_completed(database, await _open(connections, _WARM_UP_JOBS))
        if settings.drains:
            send_signal(settings.worker_pid, signal.SIGSTOP)
            try:
                prefix = await _open(connections, settings.jobs)
                meter, began = CpuMeter(settings.pids), time.perf_counter()
            finally:
                send_signal(settings.worker_pid, signal.SIGCONT)
        else:
            meter, began = CpuMeter(settings.pids), time.perf_counter()
            prefix = await _open(connections, settings.jobs)
        await _wait_completed(database, prefix)
        lasted = time.perf_counter() - began
    await database.close()
    return Result(settings.jobs / lasted, each_ms(meter.spent(), settings.jobs))


async def _open(connections: list[GrpcConnection], jobs: int) -> str:
    """Open jobs with recordings; returns the prefix of their object keys."""
    prefix, left = f"recordings/1/{uuid4().hex}", iter(range(jobs))

    async def slot(connection: GrpcConnection, left: Iterator[int]) -> None:
        for number in left:
            job_id = str(uuid4())
            opened = pb.OpenAnalysisRequest(job_id=job_id, token_id=1)
            await connection.unary(f"{_SERVICE}/OpenAnalysis", opened.SerializeToString())
            recording = pb.Recording(
                object_key=f"{prefix}-{number}",
                size=1000,
                content_type="audio/wav",
                sha256=os.urandom(32),
                file_name="take.wav",
            )
            attached = pb.AttachRecordingRequest(
                job_id=job_id, token_revision=1, recording=recording
            )
            await connection.unary(f"{_SERVICE}/AttachRecording", attached.SerializeToString())

    async with asyncio.TaskGroup() as tasks:
        for number in range(_AT_ONCE):
            tasks.create_task(slot(connections[number % _CONNECTIONS], left))
    return prefix


async def _wait_completed(database: asyncpg.Connection, prefix: str) -> None:
    # Another process completes them.
    while await database.fetchval(_UNFINISHED, prefix):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
