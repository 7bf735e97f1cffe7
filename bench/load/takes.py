"""Takes by form, until the analysis server has reported their results."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field

from bench.http1 import ClientPool, request_head
from bench.load.analysis_server import InstantAnalysisServer
from bench.load.figures import each_ms, percentile_ms
from bench.load.recordings import (
    FORM_TYPE,
    UNIQUE_BYTES,
    form_end,
    form_length,
    form_start,
    wav,
)
from bench.processes import CpuMeter

_DEADLINE_SECONDS = 120
# Work that a program does after its last answer.
_AFTERWARDS_SECONDS = 0.3
_UNAVAILABLE = 503
_REPEATS = 50
_REPEAT_SECONDS = 0.1

Slot = Callable[[Iterator[int]], Coroutine[object, object, None]]


@dataclass(frozen=True)
class Settings:
    """What to send.

    port: of the gateway or of a peer. at_once: how many uploads run concurrently.
    one_by_one: whether a slot waits until its take is completed before it sends the next;
        otherwise it waits for the answer to the upload only.
    pids: the programs whose CPU time counts. headers: of each request.
    """

    port: int
    analysis_port: int
    takes: int
    at_once: int
    pids: dict[str, int]
    one_by_one: bool = False
    size: int = 100 * 1024
    token_id: int = 1
    warm_up: int = 100
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Durations from the first byte of a take, and CPU time by program for one take.

    refused: how many requests the server refused as overloaded (503).
    """

    takes_per_second: float
    answered_p50_ms: float
    answered_p99_ms: float
    completed_p50_ms: float
    completed_p99_ms: float
    cpu_ms: dict[str, float]
    refused: int


@dataclass
class _Times:
    begun: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)


class TakeSender:
    """Sends takes by form to one server.

    refused: how often the server refused a take as overloaded, and the take was sent again.
    """

    def __init__(
        self, port: int, token_id: int, size: int, headers: Mapping[str, str] | None = None
    ) -> None:
        """headers: of each request."""
        self.refused = 0
        self._pool = ClientPool(port)
        self._recording = wav(size - UNIQUE_BYTES)
        self._head = request_head(
            "POST",
            f"/tokens/{token_id}/upload-audio",
            port,
            Content_Type=FORM_TYPE,
            Content_Length=form_length(size),
            **(headers or {}),
        )

    async def send(self) -> str:
        """Send one take that differs from all others; returns its job id."""
        body = b"".join((form_start(), self._recording, os.urandom(UNIQUE_BYTES), form_end()))
        response = await self._pool.request(self._head, body)
        for _ in range(_REPEATS):
            if response.status != _UNAVAILABLE:
                break
            self.refused += 1
            await asyncio.sleep(_REPEAT_SECONDS)
            response = await self._pool.request(self._head, body)
        if response.status != 200:
            raise RuntimeError(f"a take was refused: {response}")
        return str(json.loads(response.body)["job_id"])

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


async def measure(settings: Settings) -> Result:
    """Send the takes and wait for all results."""
    sender = TakeSender(settings.port, settings.token_id, settings.size, settings.headers)
    async with InstantAnalysisServer(settings.analysis_port, "report") as server:
        if settings.warm_up:
            await _send_all(settings, sender, server, settings.warm_up)
        meter, began = CpuMeter(settings.pids), time.perf_counter()
        times = await _send_all(settings, sender, server, settings.takes)
        lasted = time.perf_counter() - began
        await asyncio.sleep(_AFTERWARDS_SECONDS)
        spent = meter.spent()
    sender.close()
    answered = [times.answered[job] - begun for job, begun in times.begun.items()]
    completed = [server.completed[job] - begun for job, begun in times.begun.items()]
    return Result(
        settings.takes / lasted,
        percentile_ms(answered, 0.5),
        percentile_ms(answered, 0.99),
        percentile_ms(completed, 0.5),
        percentile_ms(completed, 0.99),
        each_ms(spent, settings.takes),
        sender.refused,
    )


async def send_takes(settings: Settings) -> list[str]:
    """Send takes without measuring; returns the job ids. The analysis server is the caller's."""
    sender, jobs = TakeSender(settings.port, settings.token_id, settings.size), list[str]()

    async def slot(left: Iterator[int]) -> None:
        for _ in left:
            jobs.append(await sender.send())

    await _in_slots(settings, settings.takes, slot)
    sender.close()
    return jobs


async def _send_all(
    settings: Settings, sender: TakeSender, server: InstantAnalysisServer, takes: int
) -> _Times:
    times = _Times()

    async def slot(left: Iterator[int]) -> None:
        for _ in left:
            begun = time.perf_counter()
            job_id = await sender.send()
            times.begun[job_id], times.answered[job_id] = begun, time.perf_counter()
            if settings.one_by_one:
                await server.wait_completed(job_id)

    async with asyncio.timeout(_DEADLINE_SECONDS):
        await _in_slots(settings, takes, slot)
        for job_id in times.begun:
            await server.wait_completed(job_id)
    return times


async def _in_slots(settings: Settings, takes: int, slot: Slot) -> None:
    left = iter(range(takes))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(settings.at_once):
            tasks.create_task(slot(left))
