"""Clients that hold memory or connections do not stop the gateway for others."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from stack.ports import free_ports
from tests.integration.gateway.fake_services import MIB, Services
from tests.integration.gateway.process import Gateway, reason, wait_for_status

LARGE_REPORTS: dict[str, object] = {
    "gateway_max_heap_bytes": 64 * MIB,
    "gateway_webhook_body_bytes": 8 * MIB,
}
SLOW_BODIES = 40
HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
# In HPACK's static table, with a literal authority.
GET_ROOT = b"\x82\x86\x84\x41\x04sori"
CANCEL = (8).to_bytes(4)
RESET_STREAMS = 200


def connect(gateway: Gateway) -> socket.socket:
    host, port = gateway.address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    head = (len(payload).to_bytes(3), bytes([kind, flags]), stream.to_bytes(4))
    return b"".join(head) + payload


def is_closed(connection: socket.socket) -> bool:
    """Whether the gateway closes the connection before the timeout."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def begin_report(connection: socket.socket, size: int) -> None:
    """Send a part of a report of 8 MiB, until the gateway reads no more."""
    head = "POST /tokens/webhook/analysis-complete?job_id=1 HTTP/1.1\r\nhost: gateway\r\n"
    connection.sendall(f"{head}content-length: {8 * MIB}\r\n\r\n".encode())
    connection.settimeout(0.5)
    with suppress(OSError):
        connection.sendall(b" " * size)
    connection.settimeout(20)


@contextmanager
def slow_reports(gateway: Gateway) -> Iterator[None]:
    with ExitStack() as opened, ThreadPoolExecutor(SLOW_BODIES) as executor:
        connections = [opened.enter_context(connect(gateway)) for _ in range(SLOW_BODIES)]
        # The gateway resets some of them.
        wait([executor.submit(begin_report, each, 7 * MIB) for each in connections])
        yield


def test_slow_bodies_do_not_shut_out_another_client(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, **LARGE_REPORTS, gateway_trusted_proxies=1)
    with gateway.running() as client, slow_reports(gateway):
        other = {"x-forwarded-for": "203.0.113.1"}
        answer = client.post("/tokens", json={"name": "x" * (MIB // 2)}, headers=other)
        assert answer.status_code == 200
        assert client.get("/tokens/1").status_code == 200


def test_a_client_that_holds_its_share_gets_429(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, **LARGE_REPORTS)
    with gateway.running() as client, slow_reports(gateway):
        # The gateway refuses everything until it has released the memory of refused reports.
        wait_for_status(client, "/tokens/1", 200)
        # Two threads of Envoy: each accepts one report.
        answers = [client.post("/tokens", json={"name": "x"}) for _ in range(3)]
        assert [(each.status_code, reason(each)) for each in answers] == [
            (429, "TOO_MANY_REQUESTS")
        ] * 3


def test_ended_calls_do_not_count(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, gateway_client_body_bytes=MIB)
    with gateway.running() as client:
        statuses = [
            client.post("/tokens", json={"name": "x" * (MIB // 2)}).status_code for _ in range(20)
        ]
        assert statuses == [200] * 20


def test_a_body_must_arrive_in_time(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, **LARGE_REPORTS, gateway_body_seconds=1)
    with gateway.running(), connect(gateway) as connection:
        begin_report(connection, MIB)
        assert connection.recv(MIB).startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_is_closed(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services)
    with gateway.running(), connect(gateway) as connection:
        assert connection.recv(1) == b""


def test_an_idle_connection_is_closed(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services, gateway_connection_idle_seconds=1)
    with gateway.running(), connect(gateway) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
        while connection.recv(MIB):
            pass


def test_a_connection_that_resets_its_streams_is_closed(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services)
    with gateway.running() as client, connect(gateway) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
        with suppress(OSError):
            for stream in range(1, 2 * RESET_STREAMS, 2):
                headers = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT)
                connection.sendall(headers + frame(RST_STREAM, 0, stream, CANCEL))
        assert is_closed(connection)
        assert client.get("/tokens/1").status_code == 200


def test_an_overloaded_gateway_is_alive_and_not_ready(tmp_path: Path, services: Services) -> None:
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, services, gateway_ops_port=port)
    overloaded = re.sub(
        r"max_heap_size_bytes: \d+", "max_heap_size_bytes: 1", gateway.configuration.read_text()
    )
    gateway.configuration.write_text(overloaded)
    with (
        # It may accept no connection of clients.
        gateway.running(status=None),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as ops,
    ):
        wait_for_status(ops, "/readyz", 503)
        assert ops.get("/livez").status_code == 200
