"""Clients with the shipped service config and channel options, through the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from tests.integration.gateway.fake_services import MIB, Services
from tests.integration.gateway.process import Gateway

PROTOS = Path(__file__).parents[3] / "protos" / "sori"
SERVICE_CONFIG = (PROTOS / "service_config.json").read_text("utf-8")
OPTIONS: dict[str, Any] = json.loads((PROTOS / "channel_options.json").read_text("utf-8"))
RETRIED_BYTES = 16 * MIB
"""What README.md states."""


@pytest.fixture
def shipped(gateway: Gateway, client: object) -> Iterator[grpc.Channel]:
    """A channel with the shipped options."""
    options = [("grpc.service_config", SERVICE_CONFIG), *OPTIONS.items()]
    with grpc.insecure_channel(gateway.address, options) as channel:
        yield channel


def asset(size: int) -> Iterator[upload_pb2.UploadReferenceAssetRequest]:
    for _ in range(size // MIB):
        yield upload_pb2.UploadReferenceAssetRequest(chunk=bytes(MIB))


def test_an_upload_of_the_documented_size_is_repeated_when_the_service_is_unavailable(
    services: Services, shipped: grpc.Channel
) -> None:
    services.upload.failures = 2
    # The messages add some bytes each.
    size = RETRIED_BYTES - MIB
    stub = upload_pb2_grpc.UploadServiceStub(shipped)
    answer = stub.UploadReferenceAsset(asset(size), timeout=60)
    assert answer.size == size
    assert services.upload.failures == 0


@pytest.mark.parametrize("mib", [3, 5, 8])
def test_a_result_of_up_to_8_mib_reaches_a_client(shipped: grpc.Channel, mib: int) -> None:
    request = analysis_pb2.GetAnalysisResultRequest(job_id=str(mib * MIB))
    answer = analysis_pb2_grpc.AnalysisServiceStub(shipped).GetAnalysisResult(request, timeout=30)
    assert answer.result["text"] == "x" * mib * MIB
