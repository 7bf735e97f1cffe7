"""Channels from one service to another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib.resources import files
from types import TracebackType
from typing import Any, Self, cast

import grpc

from services.runtime.interceptors import OutgoingInterceptor
from services.runtime.tls import Tls

# Clients use the same files; the build copies them into the stubs' package.
_SERVICE_CONFIG = files("sori").joinpath("service_config.json").read_text("utf-8")
_CLIENT_OPTIONS = json.loads(files("sori").joinpath("channel_options.json").read_text("utf-8"))

_OPTIONS = [
    ("grpc.service_config", _SERVICE_CONFIG),
    *_CLIENT_OPTIONS.items(),
    # Detects a peer whose host is gone.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # By default gRPC pings a silent stream only twice.
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted peer is back before the retries end, within a few seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]

# Calls on a replaced channel continue until they end; a watch may never end.
_UNLIMITED_SECONDS = 10 * 365 * 24 * 3600.0


def open_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel to `host:port` with retries, keepalive and the context of the incoming call."""
    interceptors = [OutgoingInterceptor()]
    if tls is None:
        return grpc.aio.insecure_channel(address, _OPTIONS, interceptors=interceptors)

    def secured() -> grpc.aio.Channel:
        credentials = tls.read().channel_credentials()
        return grpc.aio.secure_channel(address, credentials, _OPTIONS, interceptors=interceptors)

    # It has all methods that stubs use.
    return cast(grpc.aio.Channel, _RenewedChannel(secured, tls))


def _rpc(kind: str) -> Callable[..., Callable[..., Any]]:
    """A method of the channel that uses the latest channel for each call."""

    def rpc(renewed: _RenewedChannel, *method: Any, **options: Any) -> Callable[..., Any]:
        def call(*request: Any, **call_options: Any) -> Any:
            return getattr(renewed.latest(), kind)(*method, **options)(*request, **call_options)

        return call

    return rpc


class _RenewedChannel:
    """Opens a new channel when the certificates were renewed, because a channel keeps its own."""

    unary_unary = _rpc("unary_unary")
    unary_stream = _rpc("unary_stream")
    stream_unary = _rpc("stream_unary")
    stream_stream = _rpc("stream_stream")

    def __init__(self, secured: Callable[[], grpc.aio.Channel], tls: Tls) -> None:
        self._secured = secured
        self._tls = tls
        self._version = tls.version()
        self._channel = secured()
        self._closing = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for closing in self._closing:
            closing.cancel()
        await self._channel.close()

    def latest(self) -> grpc.aio.Channel:
        """The channel with the current certificates."""
        version = self._tls.version()
        if version != self._version:
            before, self._channel = self._channel, self._secured()
            self._version = version
            closing = asyncio.create_task(before.close(_UNLIMITED_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel
