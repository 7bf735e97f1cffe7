"""Health and metrics of a service's process, for Kubernetes and operators."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry import CATALOG as CATALOG_SERVICE
from services.runtime.health import LIVENESS
from services.runtime.healthcheck import is_serving
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from stack.environment import ROOT
from stack.ports import free_ports

CATALOG = CATALOG_SERVICE.health_name
NOWHERE = "postgresql://sori@127.0.0.1:9/sori"
START_SECONDS = 30.0
# More pings than the gateway and the services send, and more than gRPC allows by default.
FREQUENT_PINGS = [("grpc.keepalive_time_ms", 1_500), ("grpc.http2.max_pings_without_data", 0)]
QUIET_SECONDS = 8.0


@dataclass(frozen=True)
class Service:
    """A service's process and the addresses it listens on (host:port)."""

    process: subprocess.Popen[bytes]
    calls: str
    health: str
    metrics: str

    def metric(self, name: str) -> str:
        """The value of a metric; waits until the process exports it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                for line in httpx.get(
                    f"http://{self.metrics}/metrics", verify=False
                ).text.splitlines():
                    if line.startswith(f"{name} "):
                        return line.split()[1]
        raise AssertionError(f"no metric {name}")


@contextmanager
def running(database_url: str, *arguments: str, **settings: str) -> Iterator[Service]:
    calls, health, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        "DATABASE_URL": database_url,
        "WEBHOOK_SIGNING_KEY": "a key of some length",
        "CATALOG_LISTEN": calls,
        "ANALYSIS_LISTEN": calls,
        "HEALTH_LISTEN": health,
        "METRICS_LISTEN": metrics,
        "SHUTDOWN_DELAY_SECONDS": "0",
        **settings,
    }
    with subprocess.Popen([sys.executable, "-m", *arguments], env=environment) as process:
        try:
            yield Service(process, calls, health, metrics)
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def catalog(database_url: str) -> Iterator[Service]:
    with running(database_url, "services.catalog") as service:
        await_health(service.health, CATALOG)
        yield service


def await_health(address: str, name: str) -> None:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while not is_serving(channel, name):
            assert time.monotonic() < deadline


@pytest.mark.parametrize("name", ["", CATALOG, LIVENESS])
def test_both_ports_report_health(catalog: Service, name: str) -> None:
    for address in (catalog.calls, catalog.health):
        with grpc.insecure_channel(address) as channel:
            assert is_serving(channel, name)


def test_frequent_pings_do_not_end_a_quiet_stream(catalog: Service) -> None:
    with grpc.insecure_channel(catalog.calls, options=FREQUENT_PINGS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        states = stub.Watch(health_pb2.HealthCheckRequest(service=CATALOG), timeout=QUIET_SECONDS)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as end:
            next(states)
    # The deadline of the call ended it, not the server.
    assert end.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_health_port_serves_no_other_calls(catalog: Service) -> None:
    with grpc.insecure_channel(catalog.health) as channel, pytest.raises(grpc.RpcError) as error:
        catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(catalog_pb2.GetTokenRequest(id=1))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_service_without_postgresql_is_alive_but_not_ready() -> None:
    with running(NOWHERE, "services.catalog") as service:
        await_health(service.health, LIVENESS)
        with grpc.insecure_channel(service.health) as channel:
            assert not is_serving(channel, CATALOG)


def test_a_setting_closes_the_catalog_to_callers_without_an_account() -> None:
    closed = {"CATALOG_PUBLIC": "false", "GUESTS_ADMITTED": "false"}
    with running(NOWHERE, "services.catalog", **closed) as service:
        await_health(service.health, LIVENESS)
        with grpc.insecure_channel(service.calls) as channel, pytest.raises(grpc.RpcError) as error:
            catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(
                catalog_pb2.GetTokenRequest(id=1), metadata=(("x-sori-caller", "nobody"),)
            )
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_health_check_command_exits_with_the_state_of_the_service(catalog: Service) -> None:
    command = [sys.executable, "-m", "services.runtime.healthcheck"]
    assert subprocess.run([*command, catalog.calls, CATALOG], check=False).returncode == 0
    (unused,) = free_ports(1)
    ended = subprocess.run([*command, f"127.0.0.1:{unused}"], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"UNAVAILABLE" in ended.stderr


def test_a_process_exports_its_metrics(catalog: Service) -> None:
    assert float(catalog.metric("process_resident_memory_bytes")) > 0


def test_workers_export_the_number_of_due_jobs(database_url: str) -> None:
    with running(database_url, "services.analysis", "--role", "worker") as worker:
        assert float(worker.metric("sori_analysis_jobs_due")) == 0
        assert float(worker.metric("sori_analysis_oldest_due_seconds")) == 0
