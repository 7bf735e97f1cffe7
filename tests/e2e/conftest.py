"""The whole product on real parts, started once, behind its gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from stack.stack import Stack
from tests.e2e.analysis_server import AnalysisServer, running_analysis_server
from tests.e2e.issued_secrets import ISSUED, logs_with_secrets
from tests.e2e.product import Product, plain_http
from tests.e2e.tus import Tus
from tests.e2e.uploading import Uploader
from tests.stacks import new_stack, outside

AUDIO = Path(__file__).parents[1] / "audio"
MAX_RECORDING_BYTES = 24 * 1024 * 1024


@pytest.fixture(scope="session", autouse=True)
def logs_without_secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """When all stacks of this process have ended, no log contains a secret that they issued."""
    yield
    assert logs_with_secrets(tmp_path_factory.getbasetemp(), ISSUED.found) == []


@pytest.fixture(scope="session")
def analysis_server() -> Iterator[AnalysisServer]:
    with running_analysis_server(outside()) as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, analysis_server: AnalysisServer
) -> Iterator[Stack]:
    environment = {
        "TARGET_SERVER_URL": analysis_server.url,
        "MAX_RECORDING_BYTES": str(MAX_RECORDING_BYTES),
        "HEARTBEAT_SECONDS": "1",
        "VIEW_FLUSH_SECONDS": "0.5",
        "DISPATCH_BACKOFF_SECONDS": "0.2",
        "DISPATCH_MAX_ATTEMPTS": "4",
        # Higher than what one test makes fail in a row.
        "BREAKER_FAILURES": "30",
        "BREAKER_PAUSE_SECONDS": "0.2",
        "STATUS_POLL_SECONDS": "0.2",
    }
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        analysis_server.real_url = f"{stack.analyzer_url}/analyze-voice"
        yield stack


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        yield client


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.gateway_url.removeprefix("http://")) as channel:
        yield channel


@pytest.fixture
def uploader(channel: grpc.Channel) -> Uploader:
    return Uploader(channel)


@pytest.fixture
def product(stack: Stack, gateway: httpx.Client) -> Product:
    return Product(stack, gateway)


@pytest.fixture
def held_token(gateway: httpx.Client, analysis_server: AnalysisServer) -> Iterator[int]:
    """A token of this test alone, whose jobs the analysis server keeps back."""
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}"}).json()
    token = gateway.post(
        "/tokens", json={"name": "held", "actor_ids": [actor["id"]], "end_time": 5}
    ).json()
    analysis_server.hold(token["id"])
    token_id: int = token["id"]
    yield token_id
    analysis_server.release(token_id)


@pytest.fixture
def tus(gateway: httpx.Client, held_token: int) -> Tus:
    """A tus client for a token whose jobs stay at the analysis server."""
    return Tus(gateway, held_token)
