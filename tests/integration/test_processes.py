"""Two processes of the catalog on one port: both serve, one may die, and SIGTERM drains both."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from services.runtime.errors import ShuttingDown
from services.runtime.healthcheck import is_serving
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc
from stack.environment import ROOT
from stack.port_reservations import reserve
from stack.ports import HOST, free_ports, is_free

SECONDS = 60
CONNECTIONS = 16
"""The kernel gives some to each of two processes, except once in 32,768 runs."""


@dataclass(frozen=True)
class Catalog:
    """A running parent, and the ports of its processes."""

    parent: subprocess.Popen[bytes]
    port: int
    health_port: int
    metrics_port: int

    def processes(self) -> dict[int, psutil.Process]:
        """The processes that serve, by their ids."""
        return {each.pid: each for each in psutil.Process(self.parent.pid).children()}

    def channel(self) -> grpc.Channel:
        """A new connection."""
        return grpc.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )

    def list_tokens(self) -> None:
        """Call on a new connection."""
        with self.channel() as channel:
            stub: Any = catalog_pb2_grpc.CatalogServiceStub(channel)
            stub.ListTokens(pb.ListTokensRequest(), timeout=SECONDS, wait_for_ready=True)


@contextmanager
def running(database_url: str) -> Iterator[Catalog]:
    (port, health_port), metrics_port = free_ports(2), two_ports_in_a_row()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        "DATABASE_URL": database_url,
        "CATALOG_LISTEN": f"127.0.0.1:{port}",
        "HEALTH_LISTEN": f"127.0.0.1:{health_port}",
        "METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        "SHUTDOWN_DELAY_SECONDS": "0",
    }
    command = [sys.executable, "-m", "services.catalog", "--processes", "2"]
    with subprocess.Popen(command, env=environment) as process:
        catalog = Catalog(process, port, health_port, metrics_port)
        try:
            await_two_processes(catalog)
            yield catalog
        finally:
            process.terminate()


def await_two_processes(catalog: Catalog, without: int | None = None) -> None:
    """Wait until each of two processes listens on the port. without: an id of neither."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        listening = [
            pid
            for pid, process in catalog.processes().items()
            for each in process.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr.port == catalog.port
        ]
        if len(listening) == 2 and without not in listening:
            return
        time.sleep(0.05)
    raise AssertionError("there are not two processes that listen")


@pytest.fixture(scope="module")
def catalog(database_url: str) -> Iterator[Catalog]:
    with running(database_url) as catalog:
        yield catalog


def connections_of(catalog: Catalog, process: psutil.Process) -> int:
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == catalog.port
        for each in process.net_connections("tcp")
    )


def test_connections_are_spread_over_the_processes(catalog: Catalog) -> None:
    with ExitStack() as open_channels:
        for _ in range(CONNECTIONS):
            channel = open_channels.enter_context(catalog.channel())
            grpc.channel_ready_future(channel).result(SECONDS)
        counts = [connections_of(catalog, each) for each in catalog.processes().values()]
    assert all(counts)


def test_the_processes_share_the_port_for_health(catalog: Catalog) -> None:
    for _ in range(CONNECTIONS):
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{catalog.health_port}"
        with grpc.insecure_channel(address, options=options) as channel:
            grpc.channel_ready_future(channel).result(SECONDS)
            assert is_serving(channel, "liveness")


def test_every_process_has_a_port_for_its_metrics(catalog: Catalog) -> None:
    for number in range(2):
        text = httpx.get(f"http://127.0.0.1:{catalog.metrics_port + number}/metrics").text
        assert 'sori_build_info{service="catalog"' in text


def test_calls_go_on_when_a_process_is_killed_and_it_is_started_again(catalog: Catalog) -> None:
    killed = min(catalog.processes())
    catalog.processes()[killed].kill()
    for _ in range(CONNECTIONS):
        catalog.list_tokens()
    await_two_processes(catalog, without=killed)


def test_sigterm_drains_all_processes(database_url: str) -> None:
    with running(database_url) as catalog, ExitStack() as open_channels:
        watches = []
        for _ in range(CONNECTIONS):
            channel = open_channels.enter_context(catalog.channel())
            stub: Any = catalog_pb2_grpc.CatalogServiceStub(channel)
            watch = stub.WatchTokens(pb.WatchTokensRequest(), wait_for_ready=True)
            next(watch)
            watches.append(watch)
        catalog.parent.terminate()
        ends = {end_of(watch) for watch in watches}
        assert catalog.parent.wait(SECONDS) == 0
    assert ends == {ShuttingDown.developer}


def end_of(watch: Any) -> str:
    """The text with which the server ended a stream; that of gRPC if the connection broke."""
    try:
        for _ in watch:
            continue
    except grpc.RpcError as error:
        return str(error.details())
    return ""


def two_ports_in_a_row() -> int:
    """The first of two free ports."""
    while True:
        (port,) = free_ports(1)
        if is_free(HOST, port + 1) and reserve(port + 1):
            return port
