"""Settings of the stack itself; those of the services are in `environment.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]


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

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings by their variables; an empty one counts as not set."""
        return cls.model_validate(
            {name.lower(): value for name, value in environment.items() if value}
        )

    @property
    def data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return self.sori_data_dir.expanduser().absolute()

    @property
    def ports(self) -> dict[str, int]:
        """Every port by the variable that changes it."""
        return {variable: getattr(self, variable.lower()) for variable in PORT_OWNERS}


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
"""What wants each port."""
