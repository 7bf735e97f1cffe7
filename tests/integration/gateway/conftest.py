"""Envoy in front of fake services, once per module."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import httpx
import pytest

from stack.ports import free_ports
from tests.integration.gateway.fake_services import Relay, Services
from tests.integration.gateway.process import Gateway


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    services = Services(free_ports(1)[0])
    services.start()
    yield services
    services.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Gateway:
    return Gateway(tmp_path_factory.mktemp("gateway"), services, gateway_cors_origins="*")


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.running() as client:
        yield client


@pytest.fixture
def channel(gateway: Gateway, client: httpx.Client) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.fixture
def own_services() -> Iterator[Services]:
    services = Services(free_ports(1)[0])
    services.start()
    yield services
    services.stop()


@pytest.fixture
def relay(own_services: Services) -> Relay:
    relay = Relay(own_services)
    relay.start()
    return relay
