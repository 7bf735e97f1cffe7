"""Health: a service is SERVING only while all of its dependencies respond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health, health_pb2

from services.runtime.periodic import PeriodicTask

Probe = Callable[[], Awaitable[None]]
"""Returns if a dependency responds, raises otherwise."""

LIVENESS = "liveness"
"""The name whose health is SERVING while the process runs, whatever its dependencies do."""

PROBE_TIMEOUT_SECONDS = 3.0
_logger = structlog.get_logger(__name__)


class HealthWatch:
    """Sets the health of the named services by probing their dependencies."""

    def __init__(
        self, names: Sequence[str], probes: Mapping[str, Probe], interval_seconds: float
    ) -> None:
        """Prepare the watch.

        names: full names of proto services.
        probes: the dependencies' probes, by the dependency's name in the log.
        """
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *names)
        self._probes = probes
        self._interval_seconds = interval_seconds
        self._failing: frozenset[str] | None = None

    async def run(self) -> None:
        """Probe until cancelled."""
        for name in self._names:
            await self.servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self.servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await PeriodicTask("health", self.check, self._interval_seconds, jitter=0).run()

    async def check(self) -> None:
        """Probe all dependencies once, concurrently."""
        results = await asyncio.gather(*map(_responds, self._probes.values()))
        failing = frozenset(
            name for name, responds in zip(self._probes, results, strict=True) if not responds
        )
        if failing != self._failing:
            await self._publish(failing)
            self._failing = failing

    async def _publish(self, failing: frozenset[str]) -> None:
        _logger.info("health", serving=not failing, failing=sorted(failing))
        status = (
            health_pb2.HealthCheckResponse.NOT_SERVING
            if failing
            else health_pb2.HealthCheckResponse.SERVING
        )
        for name in self._names:
            await self.servicer.set(name, status)


async def _responds(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await probe()
    except Exception:
        return False
    return True
