"""Metrics for Prometheus over HTTP: those of the process, and what services add to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server


@contextmanager
def serving_metrics(listen: str) -> Iterator[None]:
    """Serve them on `host:port` from a thread; nowhere when that is empty."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"))
    except (OSError, ValueError) as error:
        sys.exit(f"Can't serve metrics on {listen}: {error}")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
