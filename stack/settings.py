"""Settings of the stack itself; those of the services are in `environment.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from services.registry import SERVICE_NAMES

Port = Annotated[int, Field(ge=1, le=65535)]

# As many as one machine and the connections of its PostgreSQL allow.
_MOST = 5
_PORT_DISTANCE = 100


class GatewayPorts(NamedTuple):
    """Where a gateway listens: for clients, for its admin, and for who balances gateways."""

    clients: int
    admin: int
    ops: int | None


_GATEWAY_PORT_KINDS = ("PORT", "ADMIN_PORT", "OPS_PORT")


class StackSettings(BaseModel):
    """Ports and places. Each setting is an environment variable: its name in capitals."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sori_data_dir: Path = Field(Path(".sori"), description="Where everything is kept.")
    sori_durable: bool = Field(
        True, description="Whether PostgreSQL waits for the disk; off is for tests."
    )
    gateway_host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    gateway_port: Port = 8000
    gateway_admin_port: Port = 9901
    postgres_port: Port = 15432
    s3_port: Port = 18333
    catalog_port: Port = 50051
    upload_port: Port = 50052
    analysis_port: Port = 50053
    analyzer_port: Port = 8100
    analysis_worker_port: Port = Field(
        50054,
        description="Where the first worker of analysis, if it has its own, tells its health.",
    )
    sori_replicas: int = Field(
        1, ge=1, le=_MOST, description="How many of each of catalog, upload and analysis run."
    )
    sori_analysis_workers: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="Workers of analysis, apart from its replicas; 0: these are the workers.",
    )
    sori_gateways: int | None = Field(
        None,
        ge=1,
        le=_MOST,
        description="How many gateways run, behind one address; default: as many as replicas.",
    )
    further_ports: dict[str, Port] = Field(
        default_factory=dict,
        description=(
            "Ports of the second replicas and on, by their variables, such as CATALOG_2_PORT;"
            " by default 100 apart, from the first one's. When there are several gateways, their"
            " own, such as GATEWAY_1_PORT; by default 10 apart."
        ),
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings by their variables; an empty one counts as not set."""
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
        """Names of the programs of every service; the first has the service's own."""
        return {service: _numbered(service, self.sori_replicas) for service in SERVICE_NAMES}

    @property
    def analysis_workers(self) -> tuple[str, ...]:
        """Names of the programs that are nothing but workers of analysis."""
        return _numbered("analysis-worker", self.sori_analysis_workers)

    @property
    def gateways(self) -> tuple[str, ...]:
        """Names of the gateways; several stand behind the program "balancer"."""
        return _numbered("gateway", self.sori_gateways or self.sori_replicas)

    @property
    def gateway_ports(self) -> dict[str, GatewayPorts]:
        """The ports of each gateway."""
        if len(self.gateways) == 1:
            return {"gateway": GatewayPorts(self.gateway_port, self.gateway_admin_port, None)}
        return {
            name: GatewayPorts(
                self.further_ports.get(f"GATEWAY_{number}_PORT", self.gateway_port + 10 * number),
                self.further_ports.get(
                    f"GATEWAY_{number}_ADMIN_PORT", self.gateway_admin_port + 10 * number
                ),
                self.further_ports.get(
                    f"GATEWAY_{number}_OPS_PORT", self.gateway_admin_port + 10 * number + 1
                ),
            )
            for number, name in enumerate(self.gateways, start=1)
        }

    @property
    def ports(self) -> dict[str, int]:
        """Every port that is used, by the variable that changes it."""
        ports = {variable: getattr(self, variable.lower()) for variable in PORT_OWNERS}
        for names in (*self.replicas.values(), self.analysis_workers):
            for place, name in enumerate(names):
                first = getattr(self, port_variable(names[0]).lower())
                variable = port_variable(name)
                ports[variable] = self.further_ports.get(variable, first + place * _PORT_DISTANCE)
        if len(self.gateways) > 1:
            # The address of all gateways is the balancer's, which has no admin pages.
            del ports["GATEWAY_ADMIN_PORT"]
            for number, own in enumerate(self.gateway_ports.values(), start=1):
                kinds = zip(_GATEWAY_PORT_KINDS, own, strict=True)
                ports |= {f"GATEWAY_{number}_{kind}": port for kind, port in kinds if port}
        return ports

    @property
    def standard_ports(self) -> dict[str, int]:
        """The same where no two programs share an address: those of the first of each kind."""
        standard = dict[str, int]()
        for names in (*self.replicas.values(), self.analysis_workers):
            first = getattr(self, port_variable(names[0]).lower()) if names else 0
            standard |= {port_variable(name): first for name in names}
        own = (self.gateway_port, self.gateway_admin_port, self.gateway_admin_port + 1)
        for number, _ in enumerate(self.gateways, start=1):
            kinds = zip(_GATEWAY_PORT_KINDS, own, strict=True)
            standard |= {f"GATEWAY_{number}_{kind}": port for kind, port in kinds}
        return standard

    def port(self, program: str) -> int:
        """The port of a replica or worker, by its name."""
        return self.ports[port_variable(program)]


def port_variable(program: str) -> str:
    """The variable that sets a program's port: CATALOG_2_PORT for "catalog-2"."""
    return f"{program.upper().replace('-', '_')}_PORT"


def service_of(program: str) -> str:
    """The service that a program runs: "analysis" for "analysis-2" and "analysis-worker"."""
    return program.partition("-")[0]


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(name if number == 1 else f"{name}-{number}" for number in range(1, count + 1))


_FURTHER_PORTS = [
    port_variable(program)
    for name in (*SERVICE_NAMES, "analysis-worker")
    for program in _numbered(name, _MOST)[1:]
] + [f"GATEWAY_{number}_{kind}" for number in range(1, _MOST + 1) for kind in _GATEWAY_PORT_KINDS]

PORT_OWNERS = {
    "GATEWAY_PORT": "the gateway",
    "GATEWAY_ADMIN_PORT": "the gateway's admin pages",
    "POSTGRES_PORT": "PostgreSQL",
    "S3_PORT": "SeaweedFS (S3)",
    "CATALOG_PORT": "the catalog service",
    "UPLOAD_PORT": "the upload service",
    "ANALYSIS_PORT": "the analysis service",
    "ANALYZER_PORT": "the reference analysis server",
}
"""What wants each port that is always used."""
