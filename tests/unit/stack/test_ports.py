from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stack.environment import ROOT
from stack.errors import StackError
from stack.ports import free_ports, is_free, require_free
from stack.settings import PORT_OWNERS, StackSettings


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings_with(changes: dict[str, int]) -> StackSettings:
    ports = dict(zip(PORT_OWNERS, free_ports(len(PORT_OWNERS)), strict=True)) | changes
    return StackSettings.from_environment({name: str(port) for name, port in ports.items()})


def test_free_ports_are_free_and_differ() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free("127.0.0.1", port) for port in ports)


def test_free_ports_are_given_once() -> None:
    assert not set(free_ports(200)) & set(free_ports(200))


def test_a_port_that_another_process_reserved_is_not_given() -> None:
    (port,) = free_ports(1)
    command = f"from stack.port_reservations import reserve; print(reserve({port}))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_free_ports_are_accepted() -> None:
    require_free(settings_with({}))


def test_a_used_port_is_reported_with_its_owner_and_variable(used_port: int) -> None:
    with pytest.raises(StackError) as raised:
        require_free(settings_with({"S3_PORT": used_port}))
    assert str(used_port) in str(raised.value)
    assert "SeaweedFS" in str(raised.value)
    assert "S3_PORT" in str(raised.value)


def test_further_programs_have_separate_ports() -> None:
    settings = StackSettings.from_environment(
        {
            "SORI_REPLICAS": "3",
            "SORI_ANALYSIS_WORKERS": "2",
            "UPLOAD_PORT": "6000",
            "UPLOAD_3_PORT": "7000",
        }
    )
    assert [settings.port(name) for name in settings.replicas["upload"]] == [6000, 6100, 7000]
    assert [settings.port(name) for name in settings.analysis_workers] == [50055, 50155]


def test_ports_of_absent_programs_are_not_checked() -> None:
    assert "ANALYSIS_WORKER_PORT" not in StackSettings.from_environment({}).ports


def test_a_used_port_of_a_replica_is_reported_with_its_variable(used_port: int) -> None:
    with pytest.raises(StackError, match=rf"{used_port}.*catalog-2.*CATALOG_2_PORT"):
        require_free(settings_with({"SORI_REPLICAS": 2, "CATALOG_2_PORT": used_port}))


def test_a_port_over_65535_is_refused() -> None:
    with pytest.raises(StackError, match=r"65600.*does not exist.*CATALOG_2_PORT"):
        require_free(settings_with({"SORI_REPLICAS": 2, "CATALOG_PORT": 65500}))


def test_two_programs_cannot_use_one_port() -> None:
    port = free_ports(1)[0]
    with pytest.raises(StackError, match="set for the catalog service and for the upload service"):
        require_free(settings_with({"CATALOG_PORT": port, "UPLOAD_PORT": port}))
