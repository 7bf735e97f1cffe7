"""The gateway while services stop, connections break, or it stops itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from stack.ports import free_ports
from tests.integration.gateway.fake_services import MIB, Relay, Services
from tests.integration.gateway.process import Gateway, details, reason, wait_until_refused


def test_a_stopped_service_is_unavailable(tmp_path: Path) -> None:
    services = Services(free_ports(1)[0])
    services.start()
    gateway = Gateway(tmp_path, services)
    with gateway.running() as client, closing(grpc.insecure_channel(gateway.address)) as channel:
        services.stop()
        answer = client.get("/tokens/1")
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        with pytest.raises(grpc.RpcError) as refused:
            catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(catalog_pb2.GetTokenRequest(id=1))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "upstream" not in details(refused.value)


def test_an_upload_of_any_size_to_a_stopped_service_can_be_retried(
    tmp_path: Path, own_services: Services
) -> None:
    with Gateway(tmp_path, own_services).running() as client:
        own_services.stop_serving()
        answer = client.post("/tokens/1/upload-audio", content=(bytes(MIB) for _ in range(16)))
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"]


def test_a_stopped_replica_fails_no_call(
    tmp_path: Path, services: Services, own_services: Services
) -> None:
    both = f"{services.address},{own_services.address}"
    with Gateway(tmp_path, services, catalog_address=both).running() as client:
        own_services.stop_serving()
        assert {client.get("/tokens/1").status_code for _ in range(100)} == {200}


def test_a_read_is_retried_when_its_connection_breaks(
    tmp_path: Path, own_services: Services, relay: Relay
) -> None:
    gateway = Gateway(tmp_path, own_services, catalog_address=relay.address)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.get, "/tokens/98")
        assert own_services.catalog.held.wait(5)
        relay.cut()
        assert answer.result().status_code == 200


def test_a_write_that_reached_a_service_is_not_retried(
    tmp_path: Path, own_services: Services, relay: Relay
) -> None:
    gateway = Gateway(tmp_path, own_services, catalog_address=relay.address)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.post, "/tokens", json={"name": "held"})
        assert own_services.catalog.held.wait(5)
        relay.cut()
        assert answer.result().status_code == 503
        assert own_services.catalog.held_calls == 1


def test_a_stopping_gateway_finishes_running_calls(tmp_path: Path, own_services: Services) -> None:
    gateway = Gateway(tmp_path, own_services, gateway_call_seconds=20)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.get, "/tokens/98")
        assert own_services.catalog.held.wait(5)
        gateway.process.terminate()
        wait_until_refused(gateway.address)
        own_services.catalog.released.set()
        assert answer.result().status_code == 200
        assert gateway.process.wait(10) == 0


def test_a_stopping_gateway_waits_for_a_limited_time(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services)
    with (
        gateway.running(drain_seconds=0.1) as client,
        client.stream("GET", "/tokens/analysis-progress/endless") as answer,
    ):
        next(answer.iter_lines())
        gateway.process.terminate()
        assert gateway.process.wait(10) == 0
