"""Settings of the gateway."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


class Endpoint(NamedTuple):
    """Where one replica of a service is."""

    host: str
    port: int

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read host:port; an IPv6 address stands in brackets."""
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise ValueError(f"{address!r} is not host:port")
        endpoint = cls(match["host"].strip("[]"), int(match["port"]))
        if not 1 <= endpoint.port <= 65535:
            raise ValueError(f"the port of {address!r} is not between 1 and 65535")
        return endpoint

    @property
    def is_ip(self) -> bool:
        """Whether the host needs no DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def endpoints(addresses: str) -> list[Endpoint]:
    """Read addresses separated by commas; raises a ValueError that says what is wrong."""
    found = [Endpoint.parse(address.strip()) for address in addresses.split(",")]
    if len(set(found)) < len(found):
        raise ValueError(f"{addresses!r} has an address twice")
    return found


def _checked(addresses: str) -> str:
    endpoints(addresses)
    return addresses


def _require_all(settings: BaseModel, *names: str) -> None:
    missing = [name.upper() for name in names if not getattr(settings, name)]
    if missing and len(missing) < len(names):
        raise ValueError(f"{' and '.join(missing)} must be set, too")


Addresses = Annotated[str, AfterValidator(_checked)]
Port = Annotated[int, Field(ge=1, le=65535)]

_BUILD = Path(__file__).parents[1] / "build"
_DESCRIPTOR = _BUILD / "sori.binpb"
_PAGES = _BUILD / "pages"


class GatewaySettings(BaseModel):
    """Where the gateway listens, whom it calls, and what it lets through.

    Each setting is an environment variable: its name in capitals. The defaults
    serve the local stack.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    gateway_host: str = Field("127.0.0.1", description="Address to listen on.")
    gateway_port: Port = Field(8000, description="Port for HTTP/1.1 and HTTP/2 without TLS.")
    gateway_admin_host: str = Field("127.0.0.1", description="Address of Envoy's admin pages.")
    gateway_admin_port: Port = Field(9901, description="Port of Envoy's admin pages.")
    catalog_address: Addresses = Field(
        "127.0.0.1:50051",
        description="host:port of the catalog; of several replicas, separated by commas.",
    )
    upload_address: Addresses = Field("127.0.0.1:50052", description="The same of upload.")
    analysis_address: Addresses = Field("127.0.0.1:50053", description="The same of analysis.")
    gateway_descriptor: Path = Field(_DESCRIPTOR, description="Descriptor set of the contract.")
    gateway_pages: Path = Field(
        _PAGES, description="Folder of the OpenAPI document and the page that shows it."
    )
    gateway_ops_port: Port | None = Field(
        None,
        description="Port of /livez, /readyz and /metrics over plain HTTP, for operators alone; "
        "default: none.",
    )
    gateway_tls_certificate_file: Path | None = Field(
        None,
        description="Certificate chain (PEM) that clients see; with it and its key GATEWAY_PORT "
        "takes TLS alone. Renewed files are read by themselves.",
    )
    gateway_tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_certificate_file: Path | None = Field(
        None,
        description="Certificate chain (PEM) to show to the services; with its key and the CA, "
        "they are called with mutual TLS.",
    )
    tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_ca_file: Path | None = Field(
        None, description="Certificates (PEM) of who may vouch for the services."
    )
    gateway_trusted_proxies: int = Field(
        0,
        ge=0,
        le=8,
        description="How many proxies in front append to X-Forwarded-For; more are not believed.",
    )
    gateway_client_requests_per_second: int | None = Field(
        None,
        ge=1,
        description="Requests a second that one client address may make of each gateway; "
        "default: any number. Reports of the analysis server don't count.",
    )
    gateway_client_burst: int = Field(
        200, ge=1, description="How many requests a client may make at once, when that is set."
    )
    gateway_max_connections: int = Field(
        20_000, ge=1, description="Most connections of clients at a time."
    )
    gateway_max_heap_bytes: int = Field(
        1024**3,
        ge=64 * 1024**2,
        description="Memory of Envoy; it refuses new requests when 95 % of it are used.",
    )
    gateway_cors_origins: str = Field(
        "*",
        description="Origins whose pages may call, separated by commas; * stands for anything.",
    )
    gateway_call_seconds: float = Field(
        15, gt=0, description="Longest wait for the answer to an ordinary call."
    )
    gateway_upload_seconds: float = Field(
        3600, gt=0, description="Longest time an upload may take."
    )
    gateway_idle_seconds: float = Field(
        60,
        gt=15,
        description="How long a stream may be silent; watches have a heartbeat each 15 s.",
    )
    gateway_upload_idle_seconds: float = Field(
        180,
        gt=15,
        description="How long an upload may be silent, or wait for its turn; more than the "
        "service's UPLOAD_IDLE_SECONDS, which says so better.",
    )
    gateway_body_bytes: int = Field(
        1024**2,
        ge=65536,
        description="Largest JSON body, and what is buffered of any connection.",
    )
    gateway_webhook_body_bytes: int = Field(
        8 * 1024**2, ge=65536, description="Largest report of the analysis server."
    )
    gateway_answer_bytes: int = Field(
        16 * 1024**2, ge=65536, description="Largest JSON answer of a service."
    )
    gateway_health_interval_seconds: float = Field(
        1, gt=0, description="Pause between two looks at a service's health."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        _require_all(self, "gateway_tls_certificate_file", "gateway_tls_key_file")
        _require_all(self, "tls_certificate_file", "tls_key_file", "tls_ca_file")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str | None]) -> Self:
        """Settings by their variables; an empty one counts as not set."""
        return cls.model_validate(
            {name.lower(): value for name, value in environment.items() if value}
        )

    @property
    def allowed_origins(self) -> list[str]:
        """The origins one by one."""
        return [origin.strip() for origin in self.gateway_cors_origins.split(",") if origin.strip()]
