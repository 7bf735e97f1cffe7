"""Settings of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Address = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")
]
Port = Annotated[int, Field(ge=1, le=65535)]

_DESCRIPTOR = Path(__file__).parents[1] / "build" / "sori.binpb"


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
    catalog_address: Address = Field("127.0.0.1:50051", description="host:port of the catalog.")
    upload_address: Address = Field("127.0.0.1:50052", description="host:port of upload.")
    analysis_address: Address = Field("127.0.0.1:50053", description="host:port of analysis.")
    gateway_descriptor: Path = Field(_DESCRIPTOR, description="Descriptor set of the contract.")
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
