"""Settings from the environment and from `.env`; the environment takes precedence.

`.env` is searched in the working directory and in the folders above it. Each default
serves the local stack; secrets have no default.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, Self

from dotenv import find_dotenv
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.database_url import DatabaseUrl
from services.runtime.tls import Tls


class Settings(BaseSettings):
    """Base of every service's settings."""

    model_config = SettingsConfigDict(
        env_file=find_dotenv(usecwd=True),
        extra="ignore",
        frozen=True,
        # A bad value may be a secret.
        hide_input_in_errors=True,
    )

    log_level: str = Field("INFO", description="Lowest level that is logged.")
    shutdown_grace_seconds: float = Field(
        20.0, ge=0, description="How long running calls may continue after SIGTERM, in seconds."
    )
    shutdown_delay_seconds: float = Field(
        1.0,
        ge=0,
        description=(
            "How long new calls are still accepted after SIGTERM while the health is NOT_SERVING, "
            "so that load balancers notice; in seconds."
        ),
    )
    health_interval_seconds: float = Field(
        5.0,
        gt=0,
        description=(
            "Interval between two checks of the dependencies while all of them respond, in "
            "seconds; otherwise at most one second."
        ),
    )

    connection_age_seconds: float = Field(
        300.0,
        gt=0,
        description=(
            "Age in seconds at which a connection is closed after its calls, so that clients "
            "discover new replicas."
        ),
    )
    grpc_reflection: bool = Field(
        True,
        description=(
            "Whether the server describes its rpcs and messages by gRPC reflection, for grpcurl; "
            "off in production."
        ),
    )
    guests_admitted: bool = Field(
        True,
        description=(
            "Whether callers without an account may upload takes, and use what they uploaded; "
            "off in production."
        ),
    )
    health_listen: str = Field(
        "",
        description=(
            "host:port of a second server for health only, without TLS, for probes that can't use "
            "TLS; default: none."
        ),
    )
    metrics_listen: str = Field(
        "", description="host:port of metrics for Prometheus over HTTP; default: none."
    )
    tls_certificate_file: Path | None = Field(
        None,
        description=(
            "Certificate chain (PEM) of this service; with its key and the CA, the service uses "
            "mutual TLS for all its calls and callers."
        ),
    )
    tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) of the authorities that sign the certificates of services.",
    )

    @property
    def tls(self) -> Tls | None:
        """The files for mutual TLS; None if it is off."""
        if self.tls_certificate_file and self.tls_key_file and self.tls_ca_file:
            return Tls(self.tls_certificate_file, self.tls_key_file, self.tls_ca_file)
        return None

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        if self.tls is None and (
            self.tls_certificate_file or self.tls_key_file or self.tls_ca_file
        ):
            raise ValueError("TLS_CERTIFICATE_FILE, TLS_KEY_FILE and TLS_CA_FILE belong together")
        return self

    @classmethod
    def read(cls) -> Self:
        """Read the settings, or exit with a message that names the invalid ones."""
        try:
            return cls()
        except ValidationError as error:
            problems = (
                ": ".join([*(str(place).upper() for place in each["loc"]), each["msg"]])
                for each in error.errors()
            )
            sys.exit("\n".join(["These environment variables are invalid:", *problems]))


class DatabaseSettings(Settings):
    """The connection to PostgreSQL."""

    database_url: SecretStr = Field(
        SecretStr("postgresql://sori@localhost:15432/sori"),
        description=(
            "postgresql://user:password@host:port/database, with parameters of libpq such as "
            "?sslmode=verify-full&sslrootcert=FILE; docs/operations.md lists them. Several hosts, "
            "separated by commas, are tried in order."
        ),
    )
    database_pool_size: int = Field(
        10, ge=1, description="Maximum number of connections per process."
    )

    @field_validator("database_url")
    @classmethod
    def _is_understood(cls, value: SecretStr) -> SecretStr:
        DatabaseUrl.parse(value.get_secret_value())
        return value


class ObjectStoreSettings(Settings):
    """The connection to S3."""

    s3_endpoint_url: str | None = Field(
        "http://localhost:18333", description="S3 server; empty for AWS itself."
    )
    s3_bucket_name: str = Field("sori", description="Bucket of recordings and reference assets.")
    s3_addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description=(
            "Where URLs have the bucket: in the path or, virtual, in the host name; default: "
            "virtual for AWS, path for another server."
        ),
    )
    s3_checksum: Literal["crc32", "md5"] = Field(
        "crc32",
        description=(
            "The checksum by which S3 verifies what it stores: crc32, or md5 for servers that do "
            "not know x-amz-checksum headers."
        ),
    )
    aws_region: str = Field(
        "us-east-1", description="Region for which requests are signed; that of the bucket."
    )
    aws_access_key_id: str | None = Field(
        None, description="Access key; empty to use the AWS credential chain."
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, description="Secret key; empty to use the AWS credential chain."
    )
