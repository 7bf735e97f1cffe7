"""Settings of the gateway."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.access import ROLES
from gateway.issuers import ExternalIssuers, Text

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


class Endpoint(NamedTuple):
    """The address of one replica of a service."""

    host: str
    port: int

    @classmethod
    def parse(cls, address: str) -> Self:
        """Parse host:port; an IPv6 address is in brackets. Errors: ValueError."""
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise ValueError(f"{address!r} is not host:port")
        endpoint = cls(match["host"].strip("[]"), int(match["port"]))
        if not 1 <= endpoint.port <= 65535:
            raise ValueError(f"the port of {address!r} is not between 1 and 65535")
        return endpoint

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address and needs no DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def endpoints(addresses: str) -> list[Endpoint]:
    """Parse addresses separated by commas. Errors: ValueError that names the problem."""
    found = [Endpoint.parse(address.strip()) for address in addresses.split(",")]
    if len(set(found)) < len(found):
        raise ValueError(f"{addresses!r} has a duplicate address")
    return found


def _checked(addresses: str) -> str:
    endpoints(addresses)
    return addresses


def _known_roles(roles: str) -> str:
    unknown = set(roles.split()) - set(ROLES)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: not one of {', '.join(ROLES)}")
    return roles


def _require_all(settings: BaseModel, *names: str) -> None:
    missing = [name.upper() for name in names if not getattr(settings, name)]
    if missing and len(missing) < len(names):
        raise ValueError(f"{' and '.join(missing)} must also be set")


Addresses = Annotated[str, AfterValidator(_checked)]
Port = Annotated[int, Field(ge=1, le=65535)]

_CORS_HEADERS = (
    "accept, accept-language, authorization, baggage, cache-control, connect-accept-encoding, "
    "connect-content-encoding, connect-protocol-version, connect-timeout-ms, content-type, "
    "grpc-timeout, idempotency-key, if-match, if-none-match, last-event-id, range, sentry-trace, "
    "traceparent, tracestate, tus-resumable, upload-checksum, upload-concat, "
    "upload-defer-length, upload-length, upload-metadata, upload-offset, x-api-key, x-grpc-web, "
    "x-guest-token, x-http-method-override, x-request-id, x-requested-with, x-user-agent"
)
_BUILD = Path(__file__).parents[1] / "build"
_DESCRIPTOR = _BUILD / "sori.binpb"
_PAGES = _BUILD / "pages"


class GatewaySettings(BaseModel):
    """The gateway's addresses, upstreams, certificates and limits.

    Each setting is an environment variable: its name in capitals. The defaults serve the
    local stack. The class is long because it states every setting of the gateway.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    gateway_host: str = Field("127.0.0.1", description="Address on which it listens.")
    gateway_port: Port = Field(8000, description="Port for HTTP/1.1 and HTTP/2 without TLS.")
    gateway_admin_host: str = Field("127.0.0.1", description="Address of Envoy's admin pages.")
    gateway_admin_port: Port = Field(9901, description="Port of Envoy's admin pages.")
    gateway_admin_socket: Path | None = Field(
        None,
        description="Unix socket of Envoy's admin pages, in place of their address and port.",
    )
    catalog_address: Addresses = Field(
        "127.0.0.1:50051",
        description="host:port of the catalog's replicas, separated by commas.",
    )
    upload_address: Addresses = Field("127.0.0.1:50052", description="The same for upload.")
    analysis_address: Addresses = Field("127.0.0.1:50053", description="The same for analysis.")
    accounts_address: Addresses = Field("127.0.0.1:50054", description="The same for accounts.")
    gateway_accounts: bool = Field(
        True,
        description="Whether the accounts service is part of the suite; without it, only tokens of "
        "GATEWAY_ISSUERS are accepted.",
    )
    accounts_issuer: Text = Field(
        "http://localhost:8000",
        description="Issuer (`iss`) of the accounts service's access tokens: the URL at which "
        "clients reach the gateway.",
    )
    gateway_issuers: ExternalIssuers = Field(
        (),
        description="Other issuers of access tokens, as a JSON list of objects: name, issuer, "
        "jwks_uri, audience, roles_claim (default: roles), roles (object: value of the claim to "
        "catalog_editor or operator).",
    )
    gateway_issuers_ca_file: Path = Field(
        Path("/etc/ssl/certs/ca-certificates.crt"),
        description="Certificates (PEM) of the authorities that sign the certificates of these "
        "issuers.",
    )
    gateway_jwks_seconds: float = Field(
        300,
        ge=1,
        description="How long in seconds the gateway uses the public keys of an issuer; shortly "
        "before, it fetches them again.",
    )
    gateway_access_cookie: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Cookie that may carry the access token instead of the header; default: none. "
        "The program that sets it must make it HttpOnly, Secure and SameSite.",
    )
    gateway_anonymous_roles: Annotated[str, AfterValidator(_known_roles)] = Field(
        "",
        description="Roles of callers without credentials, separated by spaces: catalog_editor, "
        "operator. Only for local use; never set it in production.",
    )
    guests_admitted: bool = Field(
        True,
        description="Whether callers without an account may upload takes, and use what they "
        "uploaded; the services have the same setting.",
    )
    catalog_public: bool = Field(
        True,
        description="Whether everyone may read the catalog; otherwise only callers who may upload "
        "takes.",
    )
    gateway_descriptor: Path = Field(_DESCRIPTOR, description="Descriptor set of the contract.")
    gateway_pages: Path = Field(
        _PAGES, description="Folder with the OpenAPI document and the page that shows it."
    )
    gateway_ops_port: Port | None = Field(
        None,
        description="Port of /livez, /readyz and /metrics over plain HTTP, for operators only; "
        "default: none.",
    )
    gateway_tls_certificate_file: Path | None = Field(
        None,
        description="Certificate chain (PEM) for clients; with it and its key, GATEWAY_PORT "
        "accepts only TLS. Renewed files are reloaded.",
    )
    gateway_tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_certificate_file: Path | None = Field(
        None,
        description="Certificate chain (PEM) for the services; with its key and the CA, the "
        "gateway calls them with mutual TLS.",
    )
    tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) of the authorities that sign the services' certificates.",
    )
    gateway_trusted_proxies: int = Field(
        0,
        ge=0,
        le=8,
        description="Number of proxies in front that append to X-Forwarded-For; entries of others "
        "are ignored.",
    )
    gateway_client_requests_per_second: int | None = Field(
        None,
        ge=1,
        description="Requests per second that each gateway accepts from one client address; "
        "default: unlimited. Reports of the analysis server have a limit of their own.",
    )
    gateway_client_burst: int = Field(
        200, ge=1, description="Requests that a client may send in a burst, if that is set."
    )
    gateway_max_connections: int = Field(
        20_000, ge=1, description="Maximum number of client connections."
    )
    gateway_max_heap_bytes: int = Field(
        1024**3,
        ge=64 * 1024**2,
        description="Memory of Envoy; above 75 % of it, Envoy resets the calls with the largest "
        "buffers; above 95 %, it refuses new requests.",
    )
    gateway_cors_origins: str = Field(
        "",
        description="Origins whose pages may call, separated by commas; * matches anything; "
        "default: only pages of the gateway's own origin. The local stack sets *.",
    )
    gateway_cors_headers: str = Field(
        _CORS_HEADERS,
        description="Headers that pages of these origins may send, separated by commas.",
    )
    gateway_cors_credentials: bool = Field(
        False,
        description="Whether these pages may send cookies and other credentials; requires "
        "GATEWAY_CORS_ORIGINS without *.",
    )
    gateway_call_seconds: float = Field(15, gt=0, description="Timeout of ordinary calls.")
    gateway_body_seconds: float = Field(
        60,
        gt=0,
        description="Time in which a JSON body must arrive; uploads have GATEWAY_UPLOAD_SECONDS.",
    )
    gateway_connection_idle_seconds: float = Field(
        75,
        gt=0,
        description="Time after which a connection without a call is closed; must exceed the one "
        "of a load balancer that reuses connections.",
    )
    gateway_upload_seconds: float = Field(3600, gt=0, description="Timeout of uploads.")
    gateway_idle_seconds: float = Field(
        60,
        gt=15,
        description="Timeout of silent streams; watches send a heartbeat every 15 s.",
    )
    gateway_upload_idle_seconds: float = Field(
        180,
        gt=15,
        description="Timeout of uploads that are silent or wait for memory; must exceed the "
        "service's UPLOAD_IDLE_SECONDS, whose error is clearer.",
    )
    gateway_body_bytes: int = Field(
        1024**2,
        ge=65536,
        description="Maximum JSON body, and the buffer of each connection, in bytes.",
    )
    gateway_client_body_bytes: int | None = Field(
        None,
        ge=65536,
        description="JSON bodies in bytes that one client address may hold in each thread of "
        "Envoy; default: 1/16 of GATEWAY_MAX_HEAP_BYTES. One body is always accepted.",
    )
    gateway_webhook_body_bytes: int = Field(
        1024**2,
        ge=65536,
        le=8 * 1024**2,
        description="Maximum report of the analysis server, in bytes; the analysis service's "
        "ANALYSIS_REPORT_BYTES limits it too.",
    )
    gateway_webhook_requests_per_second: int = Field(
        500,
        ge=1,
        description="Reports per second that each gateway accepts from one client address.",
    )
    gateway_webhook_burst: int = Field(
        1000, ge=1, description="Reports that a client address may send in a burst."
    )
    gateway_answer_bytes: int = Field(
        16 * 1024**2, ge=65536, description="Maximum JSON response of a service, in bytes."
    )
    gateway_health_interval_seconds: float = Field(
        1, gt=0, description="Interval between two health checks of a service."
    )

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        _require_all(self, "gateway_tls_certificate_file", "gateway_tls_key_file")
        _require_all(self, "tls_certificate_file", "tls_key_file", "tls_ca_file")
        return self

    @model_validator(mode="after")
    def _credentials_need_listed_origins(self) -> Self:
        if self.gateway_cors_credentials and (
            not self.allowed_origins or "*" in self.gateway_cors_origins
        ):
            raise ValueError("GATEWAY_CORS_CREDENTIALS requires GATEWAY_CORS_ORIGINS without *")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str | None]) -> Self:
        """Read settings from variables; an empty one counts as unset."""
        return cls.model_validate(
            {name.lower(): value for name, value in environment.items() if value}
        )

    @property
    def client_body_bytes(self) -> int:
        """GATEWAY_CLIENT_BODY_BYTES, or its default."""
        return self.gateway_client_body_bytes or self.gateway_max_heap_bytes // 16

    @property
    def allowed_origins(self) -> list[str]:
        """The origins as a list."""
        return [origin.strip() for origin in self.gateway_cors_origins.split(",") if origin.strip()]
