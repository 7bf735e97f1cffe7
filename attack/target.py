"""A stack under attack, and the attacker's connections to it."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import grpc
import httpx
import yaml
from dotenv import dotenv_values

from attack.analysis_server import ForwardingAnalysisServer, forwarding_analysis_server
from stack.environment import ROOT
from stack.seed import SAMPLE_TAKE
from stack.stack import Stack

TOKEN_ID = 1
TIMEOUT_SECONDS = 8.0
BYSTANDER_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
_BASE = ROOT / "deploy" / "k8s" / "base"
# What a container's configuration says of its place, not of its limits.
_PLACES = ("_HOST", "_PORT", "_ADDRESS", "_LISTEN")
_MIB_BY_UNIT = {"Mi": 1, "Gi": 1024}


@dataclass(frozen=True)
class Target:
    """A stack, and the attacker's address.

    source: the address that attacks come from; each attack has its own, so that the limits
        per client that one attack reaches do not hide another.
    """

    name: str
    stack: Stack
    analysis_server: ForwardingAnalysisServer
    source: str

    @property
    def place(self) -> tuple[str, int]:
        """The host and port of the gateway."""
        host, _, port = self.stack.gateway_address.rpartition(":")
        return host, int(port)

    def http(self, source: str = "") -> httpx.Client:
        """A client of the gateway; `source` replaces the attacker's address."""
        # Without TLS; loading the certificate authorities takes longer than most calls.
        transport = httpx.HTTPTransport(local_address=source or self.source, verify=False)
        return httpx.Client(
            base_url=self.stack.gateway_url, transport=transport, timeout=TIMEOUT_SECONDS
        )

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """A TCP connection to the gateway, with a receive buffer of a size."""
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.bind((self.source, 0))
        connection.connect(self.place)
        return connection

    def channel(self) -> grpc.Channel:
        """A gRPC channel of its own connection; gRPC cannot choose the attacker's address."""
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        return grpc.insecure_channel(self.stack.gateway_address, options)

    def upload(self, content: bytes, name: str = "take.webm", source: str = "") -> httpx.Response:
        """Upload a take by form."""
        with self.http(source) as client:
            files = {"file": (name, content)}
            return client.post(f"/tokens/{TOKEN_ID}/upload-audio", files=files)


def take(seed: int) -> bytes:
    """A take that no other attack has sent, so that no stored result is reused."""
    return SAMPLE_TAKE.read_bytes() + f"unique {seed} {next(_numbers)}".encode()


_numbers = count()


@contextmanager
def targets(chosen: str) -> Iterator[tuple[Stack, ForwardingAnalysisServer]]:
    """The stack of a name of `ENVIRONMENTS`, without the caller's environment."""
    with (
        tempfile.TemporaryDirectory(prefix="sori-attack-") as folder,
        forwarding_analysis_server() as server,
    ):
        environment = {**ENVIRONMENTS[chosen], "TARGET_SERVER_URL": server.url}
        stack = Stack.on_free_ports(Path(folder), environment, durable=True)
        server.forward_to = f"{stack.analyzer_url}/analyze-voice"
        with stack:
            yield stack, server


def _limits_of_base() -> Mapping[str, str]:
    """The settings of pods, without the addresses at which they are reached."""
    files = [_BASE / "config" / name for name in ("gateway.env", "services.env")]
    return {
        name: value
        for file in files
        for name, value in dotenv_values(file).items()
        if value and not name.endswith(_PLACES)
    }


def memory_limits_mib() -> dict[str, int]:
    """The memory limit of each program's pod in the base."""
    limits: dict[str, int] = {}
    for path in _BASE.glob("*.yaml"):
        for resource in yaml.safe_load_all(path.read_text()):
            if resource["kind"] == "Deployment":
                (container,) = resource["spec"]["template"]["spec"]["containers"]
                text = container["resources"]["limits"]["memory"]
                name = resource["metadata"]["name"].removesuffix("-api")
                limits[name] = int(text[:-2]) * _MIB_BY_UNIT[text[-2:]]
    return limits


# Lower than the defaults, so that an attack reaches them in seconds.
_REACHABLE = {"GATEWAY_BODY_SECONDS": "10", "CLIENT_MAX_OPEN_UPLOADS": "200"}
ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "make up": _REACHABLE,
    "limits of deploy/k8s/base": {**_limits_of_base(), **_REACHABLE},
}
"""The settings of each stack that is attacked."""
