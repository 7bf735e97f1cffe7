"""With certificates of one authority, the product uses only mutual TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry import SERVICE_NAMES
from services.runtime.access import GATEWAY
from services.runtime.tls import Tls, blocking_channel
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from stack.stack import Stack
from tests.databases import copy_database
from tests.e2e.product import AUDIO, Product

LOOPBACK = "127.0.0.1"
RENEWAL_SECONDS = 30.0


def issue(authority: trustme.CA, folder: Path) -> Tls:
    """Certificate, key and authority, as in a Secret of Kubernetes."""
    folder.mkdir(exist_ok=True)
    tls = Tls(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    issued = authority.issue_cert(LOOPBACK, "localhost", GATEWAY, *SERVICE_NAMES)
    for path, blob in (
        (tls.certificate_file, issued.cert_chain_pems[0]),
        (tls.key_file, issued.private_key_pem),
        (tls.ca_file, authority.cert_pem),
    ):
        # Replaced atomically, as certificate managers do.
        draft = path.with_suffix(".new")
        blob.write_to_path(str(draft))
        draft.rename(path)
    return tls


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def own(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """The files of the services and of the gateway."""
    return issue(authority, tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """The files of a program with a certificate of another authority."""
    return issue(trustme.CA(), tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def next_authority() -> trustme.CA:
    """The authority of the renewed certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def stack(
    own: Tls,
    authority: trustme.CA,
    next_authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    trusted = tmp_path_factory.mktemp("trusted") / "authorities.pem"
    trusted.write_bytes(authority.cert_pem.bytes() + next_authority.cert_pem.bytes())
    environment = {
        # The analysis server reports to the gateway.
        "SSL_CERT_FILE": str(trusted),
        "TLS_CERTIFICATE_FILE": str(own.certificate_file),
        "TLS_KEY_FILE": str(own.key_file),
        "TLS_CA_FILE": str(own.ca_file),
        "GATEWAY_TLS_CERTIFICATE_FILE": str(own.certificate_file),
        "GATEWAY_TLS_KEY_FILE": str(own.key_file),
    }
    folder = tmp_path_factory.mktemp("stack")
    copy_database(folder)
    with Stack.on_free_ports(folder, environment) as stack:
        yield stack


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def gateway(stack: Stack, authority: trustme.CA) -> Iterator[httpx.Client]:
    context = context_of(authority)
    with httpx.Client(base_url=stack.gateway_url, timeout=30, verify=context) as client:
        yield client


@pytest.fixture(params=SERVICE_NAMES)
def address(request: pytest.FixtureRequest, stack: Stack) -> str:
    return stack.address(request.param)


def is_refused(channel: grpc.Channel) -> bool:
    with channel, pytest.raises(grpc.RpcError) as error:
        health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
            health_pb2.HealthCheckRequest(), timeout=5
        )
    return error.value.code() is grpc.StatusCode.UNAVAILABLE


def analysed(stack: Stack, gateway: httpx.Client) -> dict[str, Any]:
    """The last state of an uploaded take."""
    with (AUDIO / "take_0890_close.webm").open("rb") as take:
        answer = gateway.post("/tokens/1/upload-audio", files={"file": take})
    return list(Product(stack, gateway).states(answer.json()["job_id"]))[-1]


def test_a_take_is_analysed(stack: Stack, gateway: httpx.Client) -> None:
    assert analysed(stack, gateway)["status"] == "completed"


def test_a_service_refuses_plaintext(address: str) -> None:
    assert is_refused(grpc.insecure_channel(address))


def test_a_service_refuses_a_client_without_a_certificate(address: str, own: Tls) -> None:
    credentials = grpc.ssl_channel_credentials(own.ca_file.read_bytes())
    assert is_refused(grpc.secure_channel(address, credentials))


def test_a_service_refuses_a_certificate_of_another_authority(
    address: str, own: Tls, stranger: Tls
) -> None:
    forged = Tls(stranger.certificate_file, stranger.key_file, own.ca_file)
    assert is_refused(blocking_channel(address, forged))


def test_a_client_refuses_a_service_of_another_authority(address: str, stranger: Tls) -> None:
    assert is_refused(blocking_channel(address, stranger))


def test_the_gateway_refuses_plaintext(stack: Stack, gateway: httpx.Client) -> None:
    assert gateway.get("/healthz").status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{stack.gateway_address}/healthz")


def test_a_browser_refuses_a_gateway_of_another_authority(stack: Stack) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{stack.gateway_url}/healthz", verify=context_of(trustme.CA()))


def test_renewed_certificates_are_used_without_a_restart(
    stack: Stack, own: Tls, next_authority: trustme.CA
) -> None:
    pids = {name: stack.pid(name) for name in stack.programs}
    issue(next_authority, own.certificate_file.parent)
    context = context_of(next_authority)
    with httpx.Client(base_url=stack.gateway_url, verify=context, timeout=30) as client:
        wait_renewed(client)
        assert analysed(stack, client)["status"] == "completed"
    with stack.channel("catalog") as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        assert catalog.GetToken(catalog_pb2.GetTokenRequest(id=1), timeout=5).id == 1
    assert {name: stack.pid(name) for name in stack.programs} == pids


def wait_renewed(client: httpx.Client) -> None:
    """Wait until the gateway presents the new certificate and accepts those of the services."""
    deadline = time.monotonic() + RENEWAL_SECONDS
    while True:
        with suppress(httpx.TransportError):
            if client.get("/tokens/1").status_code == 200:
                return
        assert time.monotonic() < deadline
