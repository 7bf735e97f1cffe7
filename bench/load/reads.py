"""One read many times, over HTTP or gRPC, by a fixed number of concurrent callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle

from bench.http1 import ClientPool, request_head
from bench.http2 import GrpcConnection
from bench.load.figures import each_ms, percentile_ms
from bench.processes import CpuMeter

CALLERS = 16
CONNECTIONS = 4
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Settings:
    """What to read.

    target: a path for HTTP, or the full name of a gRPC method.
    request_hex: the serialized request of a gRPC method; empty for HTTP.
    queries: what is appended to the path in turn, for HTTP; empty: nothing.
    """

    port: int
    target: str
    seconds: float
    pids: dict[str, int]
    request_hex: str | None = None
    queries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """Throughput, latency, and CPU time by program for one read."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]


Read = Callable[[], Awaitable[object]]


async def measure(settings: Settings) -> Result:
    """Read for a while."""
    async with AsyncExitStack() as exits:
        if settings.request_hex is None:
            readers = http_readers(settings, exits)
        else:
            readers = await grpc_readers(settings, exits)
        for _ in range(_WARM_UP_CALLS):
            await readers[0]()
        durations: list[float] = []
        meter, began = CpuMeter(settings.pids), time.perf_counter()
        await asyncio.gather(
            *(_repeat(read, began + settings.seconds, durations) for read in readers)
        )
        lasted, spent = time.perf_counter() - began, meter.spent()
    return Result(
        len(durations) / lasted,
        percentile_ms(durations, 0.5),
        percentile_ms(durations, 0.99),
        each_ms(spent, len(durations)),
    )


def http_readers(settings: Settings, exits: AsyncExitStack) -> list[Read]:
    """One caller per HTTP connection."""
    pool = ClientPool(settings.port)
    exits.callback(pool.close)
    requests = cycle(
        [
            request_head("GET", settings.target + query, settings.port)
            for query in settings.queries or ("",)
        ]
    )

    async def read() -> None:
        response = await pool.request(next(requests))
        if response.status != 200:
            raise RuntimeError(f"{settings.target} was refused: {response}")

    return [read] * CALLERS


async def grpc_readers(settings: Settings, exits: AsyncExitStack) -> list[Read]:
    """Several callers share each HTTP/2 connection."""
    request = bytes.fromhex(settings.request_hex or "")
    connections = [await GrpcConnection.open(settings.port) for _ in range(CONNECTIONS)]
    for connection in connections:
        exits.callback(connection.close)

    def reader(connection: GrpcConnection) -> Read:
        return lambda: connection.unary(settings.target, request)

    return [reader(connections[caller % CONNECTIONS]) for caller in range(CALLERS)]


async def _repeat(read: Read, until: float, durations: list[float]) -> None:
    while (began := time.perf_counter()) < until:
        await read()
        durations.append(time.perf_counter() - began)
