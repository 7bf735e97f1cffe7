from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from stack.errors import StackError
from stack.ports import free_ports, is_free, require_free
from stack.settings import PORT_OWNERS, StackSettings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings_with(changes: dict[str, int]) -> StackSettings:
    ports = dict(zip(PORT_OWNERS, free_ports(len(PORT_OWNERS)), strict=True)) | changes
    return StackSettings.from_environment({name: str(port) for name, port in ports.items()})


def test_free_ports_are_free_and_differ() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free("127.0.0.1", port) for port in ports)


def test_free_ports_pass() -> None:
    require_free(settings_with({}))


def test_a_taken_port_is_named_with_its_owner_and_variable(taken_port: int) -> None:
    with pytest.raises(StackError) as raised:
        require_free(settings_with({"S3_PORT": taken_port}))
    assert str(taken_port) in str(raised.value)
    assert "SeaweedFS" in str(raised.value)
    assert "S3_PORT" in str(raised.value)


def test_a_port_cannot_serve_two() -> None:
    port = free_ports(1)[0]
    with pytest.raises(StackError, match="wanted by the catalog service and by the upload service"):
        require_free(settings_with({"CATALOG_PORT": port, "UPLOAD_PORT": port}))
