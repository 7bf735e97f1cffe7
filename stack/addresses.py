"""The programs of a stack by name, and the addresses at which they are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import grpc

from services.runtime.tls import blocking_channel
from stack.environment import hermetic_environment, service_environment, tls_of
from stack.hosts import Hosts
from stack.s3 import S3
from stack.settings import MAIL_SINK, StackSettings


class Addresses:
    """The programs of one stack and their addresses; known before anything is started."""

    def __init__(
        self,
        settings: StackSettings,
        overrides: Mapping[str, str] | None = None,
        base_environment: Mapping[str, str] | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """Describe where the programs run.

        overrides: variables of the services that take precedence over all others.
        base_environment: variables that take precedence over the stack's defaults; default:
            those that every program needs.
        hosts: the hosts of the programs; default: all on loopback.
        """
        self.settings = settings
        self.data_dir = settings.data_dir
        self.hosts = hosts or Hosts()
        self._base = hermetic_environment() if base_environment is None else base_environment
        self._overrides = dict(overrides or {})

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment of the services."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return service_environment(self.settings, self._base, self._overrides, self.hosts)

    @property
    def service_programs(self) -> tuple[str, ...]:
        """Names of the services' replicas and of the separate workers."""
        replicas = chain.from_iterable(self.settings.replicas.values())
        return (*replicas, *self.settings.analysis_workers)

    @property
    def every_program(self) -> tuple[str, ...]:
        """Names of all programs that these settings describe."""
        gateways = self.settings.gateways
        balancer = () if self.entrance in gateways else (self.entrance,)
        services = (*self.service_programs, "analyzer", MAIL_SINK)
        return ("postgres", "s3", *services, *gateways, *balancer)

    @property
    def entrance(self) -> str:
        """The program that clients connect to: the gateway, or the balancer of several."""
        return "gateway" if len(self.settings.gateways) == 1 else "balancer"

    @property
    def entrance_host(self) -> str:
        """The address on which the entrance listens."""
        return self.settings.gateway_host if self.hosts.shares_ports else self.hosts.bind

    @property
    def scheme(self) -> str:
        """The scheme of the gateway's URLs: http or https."""
        return "https" if self.environment.get("GATEWAY_TLS_CERTIFICATE_FILE") else "http"

    @property
    def gateway_url(self) -> str:
        """The URL for HTTP clients, such as `http://127.0.0.1:8000`."""
        return f"{self.scheme}://{self.gateway_address}"

    @property
    def gateway_address(self) -> str:
        """host:port for gRPC clients."""
        host = self.entrance_host
        if host in ("0.0.0.0", "::"):  # noqa: S104
            host = self.hosts.address(self.entrance)
        return f"{host}:{self.settings.gateway_port}"

    @property
    def analyzer_url(self) -> str:
        """The URL of the reference analyzer."""
        return f"http://{self.hosts.address('analyzer')}:{self.settings.analyzer_port}"

    @property
    def mail_folder(self) -> Path:
        """The folder in which the mail sink keeps the mails of accounts."""
        return self.data_dir / "mail"

    @property
    def database_url(self) -> str:
        """The database of the services."""
        return self.environment["DATABASE_URL"]

    @property
    def s3(self) -> S3:
        """The object store of the services."""
        environment = self.environment
        return S3(
            environment["S3_ENDPOINT_URL"],
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment["S3_BUCKET_NAME"],
            environment["AWS_REGION"],
        )

    @property
    def local_s3(self) -> S3:
        """The S3 server of the stack, even if the services use another one."""
        address = self.hosts.address("s3")
        return replace(self.s3, endpoint_url=f"http://{address}:{self.settings.s3_port}")

    def address(self, name: str) -> str:
        """host:port of a service's program, such as "catalog" or "upload-2"."""
        return f"{self.hosts.address(name)}:{self.settings.port(name)}"

    def addresses(self, service: str) -> tuple[str, ...]:
        """host:port of every replica of a service."""
        return tuple(map(self.address, self.settings.replicas[service]))

    def channel(self, name: str) -> grpc.Channel:
        """A channel to a service's program, with the services' certificate if they have one."""
        return blocking_channel(self.address(name), tls_of(self.environment))
