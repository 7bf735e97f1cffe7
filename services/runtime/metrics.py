"""Metrics for Prometheus over HTTP: those of the process, and those that services add."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Info, start_http_server

from services.runtime.processes import port_of_process
from services.version import product_version

# Exported as the gauge `sori_build_info`, whose value is always 1.
_BUILD = Info("sori_build", "The service that this process runs, and the product's version.")


@contextmanager
def serving_metrics(listen: str, service: str) -> Iterator[None]:
    """Serve metrics from a thread while the context lasts.

    listen: host:port; if empty, metrics are not served. Of several processes of a service, the
        second one serves the next port, and so on.
    service: the label of `sori_build_info`.
    """
    if not listen:
        yield
        return
    _BUILD.info({"service": service, "version": product_version()})
    try:
        host, _, port = port_of_process(listen).rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"))
    except (OSError, ValueError) as error:
        sys.exit(f"Can't serve metrics on {listen}: {error}")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
