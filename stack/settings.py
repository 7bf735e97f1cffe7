"""Settings of the stack; those of the services are in `environment.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from services.registry import SERVICE_NAMES

Port = Annotated[int, Field(ge=1, le=65535)]

MAIL_SINK = "mail-sink"
"""The program that keeps the mails of accounts in a folder instead of sending them."""

# As many as one machine and the connections of its PostgreSQL allow.
_MAX_REPLICAS = 5
_PORT_DISTANCE = 100
_NUMBER = re.compile(r"-\d+$")


class GatewayPorts(NamedTuple):
    """The ports of a gateway: for clients, and for the health checks of the balancer."""

    clients: int
    ops: int | None


_GATEWAY_PORT_KINDS = ("PORT", "OPS_PORT")


class StackSettings(BaseModel):
    """Ports and folders. Each setting is an environment variable: its name in capitals."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sori_data_dir: Path = Field(Path(".sori"), description="Folder of all data, logs and secrets.")
    sori_durable: bool = Field(
        True, description="Whether PostgreSQL waits for the disk; off for tests only."
    )
    sori_use_database_url: bool = Field(
        False,
        description="Whether the stack may use, migrate and seed a PostgreSQL that is not its own "
        "and that DATABASE_URL names.",
    )
    sori_use_s3_endpoint_url: bool = Field(
        False,
        description="Whether the stack may use an S3 server that is not its own and that "
        "S3_ENDPOINT_URL names.",
    )
    sori_use_smtp_url: bool = Field(
        False,
        description="Whether the stack may send mails by an SMTP server that is not its own "
        "and that SMTP_URL names.",
    )
    gateway_host: str = Field("127.0.0.1", description="Address on which the gateway listens.")
    gateway_port: Port = 8000
    postgres_port: Port = 15432
    s3_port: Port = 18333
    mail_sink_port: Port = 15025
    catalog_port: Port = 50051
    upload_port: Port = 50052
    analysis_port: Port = 50053
    analyzer_port: Port = 8100
    accounts_port: Port = 50054
    analysis_worker_port: Port = Field(
        50055,
        description="Port for health checks of the first separate worker of analysis.",
    )
    sori_replicas: int = Field(
        1, ge=1, le=_MAX_REPLICAS, description="Number of replicas of each service."
    )
    sori_analysis_workers: int = Field(
        0,
        ge=0,
        le=_MAX_REPLICAS,
        description="Number of separate workers of analysis; with 0, its replicas are the workers.",
    )
    sori_gateways: int | None = Field(
        None,
        ge=1,
        le=_MAX_REPLICAS,
        description="Number of gateways behind one address; default: the number of replicas.",
    )
    further_ports: dict[str, Port] = Field(
        default_factory=dict,
        description=(
            "Ports of further replicas by their variables, such as CATALOG_2_PORT; by default"
            " each is 100 above the previous one. With several gateways, also their ports, such"
            " as GATEWAY_1_PORT; by default each is 10 above the previous one."
        ),
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read settings from variables; an empty one counts as unset."""
        given = {name: value for name, value in environment.items() if value}
        further = {name: given[name] for name in _FURTHER_PORTS if name in given}
        return cls.model_validate(
            {name.lower(): value for name, value in given.items()} | {"further_ports": further}
        )

    @property
    def data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return self.sori_data_dir.expanduser().absolute()

    @property
    def replicas(self) -> dict[str, tuple[str, ...]]:
        """Names of each service's replicas; the first has the name of the service."""
        return {service: _numbered(service, self.sori_replicas) for service in SERVICE_NAMES}

    @property
    def analysis_workers(self) -> tuple[str, ...]:
        """Names of the separate workers of analysis."""
        return _numbered("analysis-worker", self.sori_analysis_workers)

    @property
    def gateways(self) -> tuple[str, ...]:
        """Names of the gateways; several are behind the program "balancer"."""
        return _numbered("gateway", self.sori_gateways or self.sori_replicas)

    @property
    def gateway_ports(self) -> dict[str, GatewayPorts]:
        """The ports of each gateway."""
        if len(self.gateways) == 1:
            return {"gateway": GatewayPorts(self.gateway_port, None)}
        return {
            name: GatewayPorts(
                self.further_ports.get(f"GATEWAY_{number}_PORT", self.gateway_port + 10 * number),
                self.further_ports.get(
                    f"GATEWAY_{number}_OPS_PORT", self.gateway_port + 10 * number + 1
                ),
            )
            for number, name in enumerate(self.gateways, start=1)
        }

    @property
    def ports(self) -> dict[str, int]:
        """Every port in use, by the variable that sets it."""
        ports = {variable: getattr(self, variable.lower()) for variable in PORT_OWNERS}
        for names in (*self.replicas.values(), self.analysis_workers):
            for index, name in enumerate(names):
                first = getattr(self, port_variable(names[0]).lower())
                variable = port_variable(name)
                ports[variable] = self.further_ports.get(variable, first + index * _PORT_DISTANCE)
        if len(self.gateways) > 1:
            # GATEWAY_PORT is the balancer's.
            for number, own in enumerate(self.gateway_ports.values(), start=1):
                kinds = zip(_GATEWAY_PORT_KINDS, own, strict=True)
                ports |= {f"GATEWAY_{number}_{kind}": port for kind, port in kinds if port}
        return ports

    @property
    def standard_ports(self) -> dict[str, int]:
        """The ports if every program has its own address: those of the first replica or gateway."""
        standard = dict[str, int]()
        for names in (*self.replicas.values(), self.analysis_workers):
            first = getattr(self, port_variable(names[0]).lower()) if names else 0
            standard |= {port_variable(name): first for name in names}
        own = (self.gateway_port, self.gateway_port + 1)
        for number, _ in enumerate(self.gateways, start=1):
            kinds = zip(_GATEWAY_PORT_KINDS, own, strict=True)
            standard |= {f"GATEWAY_{number}_{kind}": port for kind, port in kinds}
        return standard

    def port(self, program: str) -> int:
        """The port of a replica or worker."""
        return self.ports[port_variable(program)]


def port_variable(program: str) -> str:
    """The variable that sets a program's port: CATALOG_2_PORT for "catalog-2"."""
    return f"{program.upper().replace('-', '_')}_PORT"


def service_of(program: str) -> str:
    """The service that a program runs: "analysis" for "analysis-2" and "analysis-worker"."""
    return program.partition("-")[0]


def kind_of(program: str) -> str:
    """The kind of a program: "catalog" for "catalog-2"."""
    return _NUMBER.sub("", program)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(name if number == 1 else f"{name}-{number}" for number in range(1, count + 1))


_FURTHER_PORTS = [
    port_variable(program)
    for name in (*SERVICE_NAMES, "analysis-worker")
    for program in _numbered(name, _MAX_REPLICAS)[1:]
] + [
    f"GATEWAY_{number}_{kind}"
    for number in range(1, _MAX_REPLICAS + 1)
    for kind in _GATEWAY_PORT_KINDS
]

PORT_OWNERS = {
    "GATEWAY_PORT": "the gateway",
    "POSTGRES_PORT": "PostgreSQL",
    "S3_PORT": "SeaweedFS (S3)",
    "MAIL_SINK_PORT": "the mail sink",
    "CATALOG_PORT": "the catalog service",
    "UPLOAD_PORT": "the upload service",
    "ANALYSIS_PORT": "the analysis service",
    "ACCOUNTS_PORT": "the accounts service",
    "ANALYZER_PORT": "the reference analysis server",
}
"""The program of each port that every stack uses."""
