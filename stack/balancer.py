"""The balancer of the stack: what stands before several gateways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stack.environment import write_private
from stack.settings import GatewayPorts
from stack.templates import rendered


@dataclass(frozen=True)
class GatewayPlace:
    """Where one gateway is."""

    host: str
    ports: GatewayPorts


def write_balancer(path: Path, host: str, port: int, gateways: Iterable[GatewayPlace]) -> None:
    """Write the configuration of an Envoy that shares connections out among gateways."""
    values = {"host": host, "port": port, "gateways": list(gateways)}
    write_private(path, rendered("balancer.yaml.j2", values))
