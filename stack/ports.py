"""Ports: find free ones, and report those in use."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path

from stack.errors import StackError
from stack.port_reservations import reserve
from stack.settings import PORT_OWNERS, StackSettings

HOST = "127.0.0.1"
_LAST_PORT = 65535
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Ports on which no program listens.

    They are below the range of outgoing connections, so that no connection uses the port
    of a program that is stopped and started again.
    """
    first_ephemeral = 32768
    if _EPHEMERAL_RANGE.exists():
        first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
    candidates = range(10_000, max(first_ephemeral, 20_000))
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if is_free(HOST, port) and reserve(port):
            found.append(port)
        if len(found) == count:
            return found
    raise StackError(f"There are not {count} free ports. Stop some servers.")


def settings_on_free_ports(chosen: Mapping[str, str], *, shared: bool) -> StackSettings:
    """The chosen settings with a port for every program.

    shared: whether the programs share an address and need free ports; otherwise each of
        them gets its standard port.
    """
    wanted = StackSettings.from_environment(chosen)
    ports = wanted.standard_ports
    if shared:
        ports = dict(zip(wanted.ports, free_ports(len(wanted.ports)), strict=True))
    variables = {variable: str(port) for variable, port in ports.items()}
    return StackSettings.from_environment({**chosen, **variables})


def is_free(host: str, port: int) -> bool:
    """Whether a program can listen on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Like servers: lingering connections of a previous server don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(settings: StackSettings) -> None:
    """Check the ports. Errors: StackError that names every port in use or used twice."""
    problems, seen = [], dict[int, str]()
    for variable, port in settings.ports.items():
        owner = PORT_OWNERS.get(variable, variable.removesuffix("_PORT").lower().replace("_", "-"))
        host = settings.gateway_host if variable == "GATEWAY_PORT" else HOST
        if port in seen:
            problems.append(f"Port {port} is set for {seen[port]} and for {owner}. Set {variable}.")
        elif port > _LAST_PORT:
            problems.append(f"Port {port} of {owner} does not exist. Set {variable}.")
        elif not is_free(host, port):
            problems.append(
                f"Port {port} of {owner} is in use."
                f" Stop the program that uses it, or set {variable} to another port."
            )
        seen[port] = owner
    if problems:
        raise StackError("\n".join(problems))
