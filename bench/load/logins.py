"""Logins of several learners, and reads of a token at a steady pace meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.http1 import ClientPool, request_head
from bench.load.figures import each_ms, percentile_ms
from bench.processes import CpuMeter

READERS = 4
READ_PAUSE_SECONDS = 0.02
_TARGET = "/tokens/1?view=FULL"
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Settings:
    """What to send.

    emails: each of these learners logs in again and again; none: only reads.
    """

    port: int
    emails: list[str]
    password: str
    seconds: float
    pids: dict[str, int]


@dataclass(frozen=True)
class Result:
    """Throughput and latency. cpu_ms: CPU time by program for one login, reads included."""

    logins_per_second: float
    login_p50_ms: float
    read_p50_ms: float
    read_p99_ms: float
    cpu_ms: dict[str, float]


async def measure(settings: Settings) -> Result:
    """Read for a while, and log in meanwhile."""
    pool = ClientPool(settings.port)
    read = _sender(pool, request_head("GET", _TARGET, settings.port))
    logins = [_sender(pool, _login(settings, email)) for email in settings.emails]
    for send in (*[read] * _WARM_UP_CALLS, *logins):
        await send()
    reading, logging_in = list[float](), list[float]()
    meter, began = CpuMeter(settings.pids), time.perf_counter()
    until = began + settings.seconds
    await asyncio.gather(
        *(_repeat(read, until, READ_PAUSE_SECONDS, reading) for _ in range(READERS)),
        *(_repeat(send, until, 0, logging_in) for send in logins),
    )
    lasted, spent = time.perf_counter() - began, meter.spent()
    pool.close()
    return Result(
        len(logging_in) / lasted,
        percentile_ms(logging_in, 0.5),
        percentile_ms(reading, 0.5),
        percentile_ms(reading, 0.99),
        each_ms(spent, max(1, len(logging_in))),
    )


def _login(settings: Settings, email: str) -> bytes:
    body = json.dumps({"email": email, "password": settings.password}).encode()
    return (
        request_head(
            "POST",
            "/auth/login",
            settings.port,
            Content_Type="application/json",
            Content_Length=len(body),
        )
        + body
    )


def _sender(pool: ClientPool, request: bytes) -> Callable[[], Awaitable[None]]:
    async def send() -> None:
        response = await pool.request(request)
        if response.status != 200:
            raise RuntimeError(f"{request!r} was refused: {response}")

    return send


async def _repeat(
    send: Callable[[], Awaitable[None]], until: float, pause: float, durations: list[float]
) -> None:
    while (began := time.perf_counter()) < until:
        await send()
        durations.append(time.perf_counter() - began)
        await asyncio.sleep(pause)
