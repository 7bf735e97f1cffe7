"""The gateways of the local stack open no port but those for clients."""

from __future__ import annotations

import stat
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from stack import probes
from stack.stack import Stack


@pytest.mark.parametrize("gateways", [1, 2])
def test_envoys_admin_pages_are_on_a_socket_that_only_their_owner_can_use(
    tmp_path: Path, gateways: int
) -> None:
    with Stack.on_free_ports(
        tmp_path, without=["analyzer"], seeded=False, gateways=gateways
    ) as stack:
        for name, ports in stack.settings.gateway_ports.items():
            admin = stack.admin_socket(name)
            assert stat.S_IMODE(admin.stat().st_mode) == 0o600
            assert any(line.startswith("catalog::") for line in probes.clusters(admin))
            assert listening(stack.pid(name)) == {port for port in ports if port}
        stack.kill("gateway")
        stack.wait_ready("gateway")
        assert probes.clusters(stack.admin_socket())


def listening(pid: int | None) -> set[int]:
    """The TCP ports on which a process and its children listen."""
    parent = psutil.Process(pid)
    return {
        each.laddr.port
        for process in (parent, *parent.children(recursive=True))
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
