"""Channels from one service to another."""

from __future__ import annotations

from importlib.resources import files

import grpc

from services.runtime.calls import OutgoingInterceptor

# The one that clients are given, too: built into the stubs' package.
_SERVICE_CONFIG = files("sori").joinpath("service_config.json").read_text("utf-8")


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port` that retries, keeps alive and hands on the call's context."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # A peer that restarts is back within the retries' few seconds.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ],
        interceptors=[OutgoingInterceptor()],
    )
