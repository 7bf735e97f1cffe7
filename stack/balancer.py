"""The balancer of the stack: what stands before several gateways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stack.environment import write_private
from stack.settings import GatewayPorts


@dataclass(frozen=True)
class GatewayPlace:
    """Where one gateway is."""

    host: str
    ports: GatewayPorts


def write_balancer(path: Path, host: str, port: int, gateways: Iterable[GatewayPlace]) -> None:
    """Write the configuration of an Envoy that shares connections out among gateways."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        # Not HTML.
        autoescape=False,  # noqa: S701
    )
    template = environment.get_template("balancer.yaml.j2")
    write_private(path, template.render(host=host, port=port, gateways=list(gateways)))
