"""Mutual TLS between services: both sides present a certificate of the same authority.

A server reads the files for every new connection, so that renewed certificates need no
restart. `channels.py` does so for clients.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Tls:
    """PEM files: this service's certificate chain and private key, and the trusted authorities."""

    certificate_file: Path
    key_file: Path
    ca_file: Path

    def version(self) -> tuple[int, ...]:
        """A value that changes when one of the files does."""
        files = (self.certificate_file, self.key_file, self.ca_file)
        return tuple(file.stat().st_mtime_ns for file in files)

    def read(self) -> Pems:
        """The current content of the files."""
        return Pems(
            self.certificate_file.read_bytes(),
            self.key_file.read_bytes(),
            self.ca_file.read_bytes(),
        )


@dataclass(frozen=True)
class Pems:
    """The content of the files: certificate chain, private key and authorities."""

    certificate: bytes
    key: bytes
    ca: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """The credentials of a client."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """The certificate configuration of a server."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.ca)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials of a server that refuses clients without a certificate."""
    latest = tls.read()

    def renewed() -> grpc.ServerCertificateConfiguration:
        """The renewed configuration; None, as gRPC requires, if it is unchanged."""
        nonlocal latest
        # While the files are being replaced, the server keeps the old certificate.
        with suppress(OSError):
            read = tls.read()
            if read != latest:
                latest = read
                return latest.server_configuration()
        return None  # type: ignore[return-value]

    return grpc.dynamic_ssl_server_credentials(
        latest.server_configuration(), renewed, require_client_authentication=True
    )


def blocking_channel(address: str, tls: Tls | None) -> grpc.Channel:
    """A synchronous channel that ignores proxies."""
    options = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls.read().channel_credentials(), options)
