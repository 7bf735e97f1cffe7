"""Ports: find free ones, and tell which are taken."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from stack.errors import StackError
from stack.port_reservations import reserve
from stack.settings import PORT_OWNERS, StackSettings

HOST = "127.0.0.1"
_LAST_PORT = 65535
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on.

    They lie below the range that outgoing connections take theirs from, so that a
    program can be stopped and started again on its own.
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
    raise StackError(f"There are no {count} free ports. Stop some programs that listen.")


def is_free(host: str, port: int) -> bool:
    """Whether a program could listen on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a predecessor that linger don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(settings: StackSettings) -> None:
    """Raise a StackError that names every port that is taken or wanted twice."""
    problems, seen = [], dict[int, str]()
    for variable, port in settings.ports.items():
        owner = PORT_OWNERS.get(variable, variable.removesuffix("_PORT").lower().replace("_", "-"))
        host = settings.gateway_host if variable == "GATEWAY_PORT" else HOST
        if port in seen:
            problems.append(
                f"Port {port} is wanted by {seen[port]} and by {owner}. Set {variable}."
            )
        elif port > _LAST_PORT:
            problems.append(f"Port {port}, meant for {owner}, does not exist. Set {variable}.")
        elif not is_free(host, port):
            problems.append(
                f"Port {port}, wanted by {owner}, is taken."
                f" Stop the program that uses it, or set {variable} to another port."
            )
        seen[port] = owner
    if problems:
        raise StackError("\n".join(problems))
