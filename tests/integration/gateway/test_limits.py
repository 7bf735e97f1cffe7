"""The gateway's limits, and its pages for operators."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

import grpc
import httpx
import pytest

from services.version import product_version
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from stack.ports import free_ports
from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.process import Gateway, reason, wait_for_status, wait_until_refused

BURST = 5
REPORT_BURST = 2 * BURST
WEBHOOK = "/tokens/webhook/analysis-complete?job_id=1"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Gateway:
    return Gateway(
        tmp_path_factory.mktemp("limited"),
        services,
        gateway_client_requests_per_second=1,
        gateway_client_burst=BURST,
        gateway_webhook_requests_per_second=1,
        gateway_webhook_burst=REPORT_BURST,
        gateway_trusted_proxies=1,
    )


@pytest.fixture(scope="module")
def client(limited: Gateway) -> Iterator[httpx.Client]:
    with limited.running() as client:
        yield client


def test_a_client_over_its_limit_learns_when_to_retry(client: httpx.Client) -> None:
    address = {"x-forwarded-for": "203.0.113.1"}
    answers = [client.get("/tokens/1", headers=address) for _ in range(4 * BURST)]
    assert [answer.status_code for answer in answers[:BURST]] == [200] * BURST
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, reason(refused)) == (429, "TOO_MANY_REQUESTS")
    assert refused.headers["retry-after"] == "1"


def test_each_client_has_its_own_limit(client: httpx.Client) -> None:
    for _ in range(4 * BURST):
        client.get("/tokens/1", headers={"x-forwarded-for": "203.0.113.2"})
    answer = client.get("/tokens/1", headers={"x-forwarded-for": "203.0.113.3"})
    assert answer.status_code == 200


def test_a_forged_address_is_ignored(client: httpx.Client) -> None:
    statuses = {
        client.get(
            "/tokens/1", headers={"x-forwarded-for": f"198.51.100.{n}, 203.0.113.4"}
        ).status_code
        for n in range(4 * BURST)
    }
    assert statuses == {200, 429}


def test_grpc_clients_get_a_grpc_status(client: httpx.Client, limited: Gateway) -> None:
    metadata = (("x-forwarded-for", "203.0.113.5"),)
    request = catalog_pb2.GetTokenRequest(id=1)
    with grpc.insecure_channel(limited.address) as channel:
        get = catalog_pb2_grpc.CatalogServiceStub(channel).GetToken
        calls = [get.future(request, metadata=metadata) for _ in range(4 * BURST)]
        assert {call.code() for call in calls} == {
            grpc.StatusCode.OK,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }


def test_reports_of_the_analysis_server_have_their_own_limit(client: httpx.Client) -> None:
    headers = {"x-forwarded-for": "203.0.113.6"}

    def post(path: str) -> int:
        return client.post(path, json={"status": "failed"}, headers=headers).status_code

    assert [post(WEBHOOK) for _ in range(REPORT_BURST)] == [200] * REPORT_BURST
    assert 429 in {post(WEBHOOK) for _ in range(REPORT_BURST)}
    assert client.get("/tokens/1", headers=headers).status_code == 200


def test_reports_of_a_stranger_take_none_of_the_analysis_servers_limit(
    client: httpx.Client,
) -> None:
    def post(address: str) -> int:
        headers = {"x-forwarded-for": address}
        return client.post(WEBHOOK, json={"status": "failed"}, headers=headers).status_code

    assert 429 in {post("203.0.113.7") for _ in range(2 * REPORT_BURST)}
    assert post("203.0.113.8") == 200


def test_connections_over_the_limit_are_refused(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, gateway_max_connections=3)
    host, port = gateway.address.split(":")
    with gateway.running() as client, ExitStack() as opened, DefaultSelector() as closed:
        # The client has one connection. The threads of Envoy accept the others in any order.
        assert client.get("/tokens/1").status_code == 200
        for _ in range(5):
            connection = opened.enter_context(socket.create_connection((host, int(port))))
            closed.register(connection, EVENT_READ)
        refused = set[int]()
        while len(refused) < 3 and (ready := closed.select(timeout=10)):
            for key, _ in ready:
                assert socket.socket.recv(key.fileobj, 1) == b""  # type: ignore[arg-type]
                closed.unregister(key.fileobj)
                refused.add(key.fd)
        assert len(refused) == 3
        assert closed.select(timeout=0) == []
        assert client.get("/tokens/1").status_code == 200


def test_operators_see_liveness_readiness_and_metrics(tmp_path: Path, services: Services) -> None:
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, services, gateway_ops_port=port)
    with gateway.running(), httpx.Client(base_url=f"http://127.0.0.1:{port}") as ops:
        assert ops.get("/livez").status_code == 200
        assert ops.get("/readyz").status_code == 200
        metrics = ops.get("/metrics").text
        assert "envoy_http_downstream_rq_xx" in metrics
        assert f'envoy_server_live{{sori_version="{product_version()}"}} 1' in metrics
        # No other admin page is exposed.
        assert ops.get("/config_dump").status_code == 404


def test_the_admin_pages_can_be_on_a_unix_socket(services: Services) -> None:
    (port,) = free_ports(1)
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "admin.sock"
        gateway = Gateway(Path(folder), services, gateway_ops_port=port, gateway_admin_socket=path)
        with (
            gateway.running(delay_seconds=60),
            httpx.Client(base_url=f"http://127.0.0.1:{port}") as ops,
        ):
            assert path.is_socket()
            assert "envoy_http_downstream_rq_xx" in ops.get("/metrics").text
            gateway.process.terminate()
            # It drains through the socket.
            wait_for_status(ops, "/readyz", 503)
            gateway.process.terminate()


def test_a_stopping_gateway_is_not_ready_before_it_refuses_connections(
    tmp_path: Path, services: Services
) -> None:
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, services, gateway_ops_port=port)
    with (
        gateway.running(delay_seconds=60) as client,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as ops,
    ):
        gateway.process.terminate()
        wait_for_status(ops, "/readyz", 503)
        assert client.get("/tokens/1").status_code == 200
        # A second signal ends it immediately.
        gateway.process.terminate()
        wait_until_refused(gateway.address)
