"""Every service reports its health by gRPC's protocol, by name and when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry import BY_NAME, SERVICE_NAMES
from stack.stack import Stack

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(params=SERVICE_NAMES)
def name(request: pytest.FixtureRequest) -> str:
    service: str = request.param
    return service


@pytest.fixture
def health(stack: Stack, name: str) -> Iterator[Any]:
    stack.wait_ready(name)
    with grpc.insecure_channel(stack.address(name)) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def test_health_is_reported_by_name_and_for_the_server(health: Any, name: str) -> None:
    for service in ("", BY_NAME[name].health_name):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def test_health_can_be_watched(stack: Stack, health: Any, name: str) -> None:
    dependency = "s3" if name == "upload" else "postgres"
    request = health_pb2.HealthCheckRequest(service=BY_NAME[name].health_name)
    states = health.Watch(request)
    assert next(states).status == SERVING
    stack.stop(dependency)
    try:
        assert next(states).status == NOT_SERVING
    finally:
        stack.start(dependency)
    assert next(states).status == SERVING


def test_the_health_of_an_unknown_service_is_not_found(
    health: Any,
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="unknown"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
