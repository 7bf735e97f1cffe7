"""Check a server's health: `python -m services.runtime.healthcheck HOST:PORT [SERVICE]`.

Exits with 0 if it is serving. If the TLS_* settings are set, it presents their certificate.
"""

from __future__ import annotations

import argparse
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.settings import Settings
from services.runtime.tls import blocking_channel

TIMEOUT_SECONDS = 3.0


def is_serving(channel: grpc.Channel, service: str) -> bool:
    """Whether the server reports a service as serving; an empty name stands for the server."""
    answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
        health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS
    )
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Check once; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.runtime.healthcheck")
    parser.add_argument("address", help="host:port of a gRPC server")
    parser.add_argument("service", nargs="?", default="", help="full name; default: the server")
    arguments = parser.parse_args()
    with blocking_channel(arguments.address, Settings.read().tls) as channel:
        try:
            return 0 if is_serving(channel, arguments.service) else 1
        except grpc.RpcError as error:
            sys.exit(f"{arguments.address}: {error.code().name}")


if __name__ == "__main__":
    sys.exit(main())
