"""The gRPC server of every service: health, reflection, limits, shutdown."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc

from services.registry import Service
from services.runtime.access import AccessCheck
from services.runtime.concurrency import ConcurrencyLimit
from services.runtime.garbage import QuietCollection, spare_present_objects
from services.runtime.health import HealthWatch, Probe
from services.runtime.interceptors import CallInterceptor
from services.runtime.metrics import serving_metrics
from services.runtime.periodic import keep_running
from services.runtime.processes import announce_listening, process_number
from services.runtime.reflection import enable_reflection
from services.runtime.settings import Settings
from services.runtime.tls import server_credentials

MAX_MESSAGE_BYTES = 5 * 1024 * 1024
"""A chunk of 4 MiB with the rest of its message."""

MAX_METADATA_BYTES = 48 * 1024
"""The 32 KiB of headers that the gateway accepts, and those that it adds."""

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    # gRPC refuses calls at random between the two limits.
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Gateways and clients ping every few seconds.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    # A fixed window: a fast client gets no larger buffer.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 * 1024),
    # Two servers on one port would split the calls between them silently, so only processes of
    # one parent, which has reserved the port, may do that.
    ("grpc.so_reuseport", 1 if process_number() else 0),
]
_logger = structlog.get_logger(__name__)


async def _no_stop() -> None:
    return


@dataclass(frozen=True)
class Background:
    """A loop that runs next to a server; an error in it never ends the service.

    name: identifies the loop in the logs.
    run: the loop. It runs until it is stopped, or is cancelled after the last call has
        ended; if it fails, it is started again after a back-off.
    stop: called when the shutdown begins, to end the loop; may take as long as running calls
        may take.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]] = _no_stop


class Server:
    """A gRPC server with health and reflection; a service adds its servicers and runs it."""

    def __init__(
        self,
        settings: Settings,
        service: Service,
        *,
        probes: Mapping[str, Probe],
        reflected: Sequence[str] | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_request_bytes: int | None = None,
        max_calls: int = 0,
        public_catalog: bool = True,
        deserializers: Mapping[str, Callable[[bytes], Any]] | None = None,
    ) -> None:
        """Prepare a server.

        service: its entry in the registry; health is reported for its proto services.
        probes: the dependencies' probes, by the dependency's name.
        reflected: full names that reflection lists; default: those of `service`.
        max_message_bytes: the largest message that the server receives or sends.
        max_request_bytes: the largest message that it receives; default: max_message_bytes.
        max_calls: the most calls at the same time, without health and reflection; 0: unlimited.
        public_catalog: whether everyone may call the rpcs of the catalog that are public.
        deserializers: of the requests of a stream after the first, by method; default: those of
            protobuf.
        """
        limits = [
            ("grpc.max_receive_message_length", max_request_bytes or max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
        ]
        age = ("grpc.max_connection_age_ms", round(settings.connection_age_seconds * 1000))
        self.grpc = grpc.aio.server(
            interceptors=[
                CallInterceptor(deserializers),
                AccessCheck(guests=settings.guests_admitted, public_catalog=public_catalog),
                ConcurrencyLimit(max_calls),
            ],
            options=[*_OPTIONS, *limits, age],
        )
        self._settings = settings
        self._service = service
        names = service.proto_services
        self._health = HealthWatch(names, probes, settings.health_interval_seconds)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self.grpc)
        if settings.grpc_reflection:
            enable_reflection(self.grpc, (*(reflected or names), health.SERVICE_NAME))

    async def run(self, listen: str, background: Sequence[Background] = ()) -> None:
        """Serve on `host:port` until SIGTERM or SIGINT, then stop gracefully."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self._bind(listen)
        await self.grpc.start()
        spare_present_objects()
        _logger.info("listening", address=listen)
        with serving_metrics(self._settings.metrics_listen, self._service.name):
            async with self._health_server():
                announce_listening()
                await self._run_with(background, stopping)
        _logger.info("stopped")

    async def _run_with(self, background: Sequence[Background], stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            health = group.create_task(self._health.run())
            tasks = [group.create_task(keep_running(each.name, each.run)) for each in background]
            tasks.append(group.create_task(QuietCollection().run()))
            await stopping.wait()
            _logger.info("stopping", grace_seconds=self._settings.shutdown_grace_seconds)
            health.cancel()
            await self._stop(background)
            for task in tasks:
                task.cancel()

    async def _stop(self, background: Sequence[Background]) -> None:
        grace = self._settings.shutdown_grace_seconds
        await self._health.servicer.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.shutdown_delay_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace), asyncio.TaskGroup() as group:
                for each in background:
                    group.create_task(_stop(each))
                # Running calls are cancelled only after the grace period.
                group.create_task(self.grpc.stop(grace))
        await self.grpc.stop(0)

    @asynccontextmanager
    async def _health_server(self) -> AsyncIterator[None]:
        """A second server for health only, if `health_listen` is set."""
        if not self._settings.health_listen:
            yield
            return
        server = grpc.aio.server(options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)
        _bound(server.add_insecure_port, self._settings.health_listen)
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)

    def _bind(self, listen: str) -> None:
        tls = self._settings.tls
        if tls:
            credentials = server_credentials(tls)
            _bound(lambda address: self.grpc.add_secure_port(address, credentials), listen)
        else:
            _bound(self.grpc.add_insecure_port, listen)


def _bound(add_port: Callable[[str], int], listen: str) -> None:
    try:
        add_port(listen)
    except RuntimeError:
        sys.exit(f"Can't listen on {listen}: free the port, or set another address.")


async def _stop(background: Background) -> None:
    await background.stop()
