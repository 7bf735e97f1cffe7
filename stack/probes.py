"""Probes: each returns if a program of the stack does its work, and raises otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from smtplib import SMTP

import asyncpg
import grpc
import httpx

from services.runtime.healthcheck import is_serving
from stack.s3 import S3

Probe = Callable[[], None]

_TIMEOUT_SECONDS = 2.0
_MARKER = "stack/ready"


class NotReadyError(Exception):
    """The program responds, but is not ready."""


def postgres(url: str) -> None:
    """PostgreSQL responds to a query."""
    _query(url, "SELECT 1")


def revisions(url: str, services: Sequence[str]) -> dict[str, str | None]:
    """The revision of each service's schema; fails if one has none yet."""
    columns = ", ".join(
        f'(SELECT version_num FROM "{service}".alembic_version)'  # noqa: S608
        for service in services
    )
    return dict(zip(services, _query(url, f"SELECT {columns}"), strict=True))


def _query(url: str, statement: str) -> asyncpg.Record:
    async def query() -> asyncpg.Record:
        connection = await asyncpg.connect(url, timeout=_TIMEOUT_SECONDS)
        try:
            (row,) = await connection.fetch(statement)
            return row
        finally:
            await connection.close(timeout=_TIMEOUT_SECONDS)

    # In a separate thread, because the caller may run in an event loop.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, query()).result()


def s3(s3: S3) -> None:
    """S3 reads a stored object, and stores one.

    SeaweedFS lists its buckets a moment before it finds the volumes with their objects.
    """
    kept = s3.request("GET", _MARKER)
    if kept.status_code != httpx.codes.NOT_FOUND:
        kept.raise_for_status()
    s3.put(_MARKER, b"ready")


def smtp(address: str) -> None:
    """The SMTP server accepts commands."""
    with SMTP(address, timeout=_TIMEOUT_SECONDS) as client:
        client.noop()


def grpc_service(channel: Callable[[], grpc.Channel], service: str) -> None:
    """The gRPC service reports that it is serving."""
    with channel() as opened:
        if not is_serving(opened, service):
            raise NotReadyError(f"{service} is not serving")


def http(url: str) -> None:
    """The HTTP server responds with success; its certificate is not verified."""
    httpx.get(url, timeout=_TIMEOUT_SECONDS, trust_env=False, verify=False).raise_for_status()  # noqa: S501


def routed(admin: Path, cluster: str, address: str) -> None:
    """The gateway sees the replica of a service as healthy, and sends calls to it."""
    if f"{cluster}::{address}::health_flags::healthy" not in clusters(admin):
        raise NotReadyError(f"the gateway sends nothing to {address}")


def clusters(admin: Path) -> list[str]:
    """What the gateway knows of its upstreams: the lines of Envoy's admin page `/clusters`.

    admin: the socket of the admin pages.
    """
    transport = httpx.HTTPTransport(uds=str(admin))
    with httpx.Client(transport=transport, timeout=_TIMEOUT_SECONDS) as client:
        return client.get("http://admin/clusters").text.splitlines()
