"""Channels from one service to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.resources import files
from types import TracebackType
from typing import Any, Self, cast

import grpc

from services.runtime.interceptors import OutgoingInterceptor
from services.runtime.tls import Tls

# The one that clients are given, too: built into the stubs' package.
_SERVICE_CONFIG = files("sori").joinpath("service_config.json").read_text("utf-8")

_OPTIONS = [
    ("grpc.service_config", _SERVICE_CONFIG),
    # A peer whose host is gone says nothing.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # By default only twice while a stream is quiet.
    ("grpc.http2.max_pings_without_data", 0),
    # A peer that restarts is back within the retries' few seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Pods get new addresses one after another; the default is 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
]

# Calls on a channel that was replaced end by themselves, a watch perhaps never.
_ANY_SECONDS = 10 * 365 * 24 * 3600.0


def open_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel to `host:port` that retries, keeps alive and hands on the call's context."""
    interceptors = [OutgoingInterceptor()]
    if tls is None:
        return grpc.aio.insecure_channel(address, _OPTIONS, interceptors=interceptors)

    def secured() -> grpc.aio.Channel:
        credentials = tls.read().channel_credentials()
        return grpc.aio.secure_channel(address, credentials, _OPTIONS, interceptors=interceptors)

    # All that stubs use of a channel.
    return cast(grpc.aio.Channel, _RenewedChannel(secured, tls))


def _rpc(kind: str) -> Callable[..., Callable[..., Any]]:
    """An rpc of the channel that is the latest whenever it is called."""

    def rpc(renewed: _RenewedChannel, *method: Any, **options: Any) -> Callable[..., Any]:
        def call(*request: Any, **how: Any) -> Any:
            return getattr(renewed.latest(), kind)(*method, **options)(*request, **how)

        return call

    return rpc


class _RenewedChannel:
    """Opens a new channel when the certificates were renewed: one that is open keeps its own."""

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
        """The channel with the certificates as they are now."""
        version = self._tls.version()
        if version != self._version:
            before, self._channel = self._channel, self._secured()
            self._version = version
            closing = asyncio.create_task(before.close(_ANY_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel
