"""Mutual TLS between services: both sides show a certificate of one authority.

Files are read anew for every connection that is taken, so that renewed certificates
need no restart of servers; for what a service calls see `channels.py`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the own certificate chain, its private key, and who may vouch for others."""

    certificate_file: Path
    key_file: Path
    ca_file: Path

    def version(self) -> tuple[int, ...]:
        """What changes when one of the files does."""
        files = (self.certificate_file, self.key_file, self.ca_file)
        return tuple(file.stat().st_mtime_ns for file in files)

    def read(self) -> Pems:
        """What the files say now."""
        return Pems(
            self.certificate_file.read_bytes(),
            self.key_file.read_bytes(),
            self.ca_file.read_bytes(),
        )


@dataclass(frozen=True)
class Pems:
    """Certificate chain, private key and authorities at one time."""

    certificate: bytes
    key: bytes
    ca: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a client."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """For a server."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.ca)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials of a server that refuses clients without a certificate."""
    latest = tls.read()

    def renewed() -> grpc.ServerCertificateConfiguration:
        """The certificate to take from now on; None, as gRPC wants it, while it is the same."""
        nonlocal latest
        # In the middle of a change the one at hand serves on.
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
    """A channel for threads that wait, past any proxy."""
    options = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls.read().channel_credentials(), options)
