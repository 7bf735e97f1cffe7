"""gRPC clients check the health of each service through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.gateway.fake_services import NAMES, Services
from tests.integration.gateway.process import Gateway

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(channel: grpc.Channel, name: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
    return status


@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_serving_service_is_healthy(channel: grpc.Channel, name: str) -> None:
    assert check(channel, name) == SERVING


@pytest.mark.parametrize("name", ["unknown", "bad\r\nname", "x" * 300])
def test_an_unknown_service_is_not_found(channel: grpc.Channel, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        check(channel, name)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_each_service_answers_for_itself(
    tmp_path: Path, services: Services, own_services: Services
) -> None:
    name = "sori.analysis.v1.AnalysisService"
    gateway = Gateway(tmp_path, services, analysis_address=own_services.address)
    with gateway.running(), grpc.insecure_channel(gateway.address) as channel:
        own_services.set_health(name, serving=False)
        assert check(channel, name) == NOT_SERVING
        assert check(channel, "sori.catalog.v1.CatalogService") == SERVING


def test_health_can_be_watched(channel: grpc.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    states = stub.Watch(health_pb2.HealthCheckRequest(service=NAMES[0]), timeout=10)
    assert next(states).status == SERVING
    states.cancel()
