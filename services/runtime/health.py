"""Health: a service is SERVING only while all of its dependencies respond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health, health_pb2

from services.runtime.periodic import PeriodicTask

Probe = Callable[[], Awaitable[None]]
"""Returns if a dependency responds, raises otherwise."""

RETRY_SECONDS = 1.0
"""The longest pause between two checks while a dependency does not respond."""

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
        interval_seconds: between two checks while all dependencies respond.
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
        await PeriodicTask("health", self._check_until_serving, self._interval_seconds).run()

    async def _check_until_serving(self) -> None:
        await self.check()
        while self._failing:
            await asyncio.sleep(min(RETRY_SECONDS, self._interval_seconds))
            await self.check()

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
