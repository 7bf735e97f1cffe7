"""Health: SERVING only while all that a service depends on answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health, health_pb2

Probe = Callable[[], Awaitable[None]]
"""Returns when a dependency answers, raises otherwise."""

LIVENESS = "liveness"
"""The name that is SERVING as long as the process is, whatever it depends on."""

PROBE_TIMEOUT_SECONDS = 3.0
_logger = structlog.get_logger(__name__)


class HealthWatch:
    """Sets the health of the named services by probing what they depend on."""

    def __init__(
        self, names: Sequence[str], probes: Mapping[str, Probe], interval_seconds: float
    ) -> None:
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *names)
        self._probes = probes
        self._interval_seconds = interval_seconds
        self._failing: frozenset[str] | None = None

    async def run(self) -> None:
        """Probe for ever."""
        for name in self._names:
            await self.servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self.servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        while True:
            await self.check()
            await asyncio.sleep(self._interval_seconds)

    async def check(self) -> None:
        """Probe once, all dependencies at the same time."""
        answers = await asyncio.gather(*map(_answers, self._probes.values()))
        failing = frozenset(
            name for name, answer in zip(self._probes, answers, strict=True) if not answer
        )
        if failing != self._failing:
            self._failing = failing
            await self._publish(failing)

    async def _publish(self, failing: frozenset[str]) -> None:
        _logger.info("health", serving=not failing, failing=sorted(failing))
        status = (
            health_pb2.HealthCheckResponse.NOT_SERVING
            if failing
            else health_pb2.HealthCheckResponse.SERVING
        )
        for name in self._names:
            await self.servicer.set(name, status)


async def _answers(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await probe()
    except Exception:
        return False
    return True
