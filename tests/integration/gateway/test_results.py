"""A result that the service accepts can be read back in every way, through a real Envoy."""

from __future__ import annotations

import asyncio
import json
from functools import reduce
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.analysis.errors import ResultUnreadable
from services.analysis.report_parser import MAX_LEVELS, ReportParser
from services.analysis.reports import Report
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from tests.integration.gateway.fake_services import MIB, Services
from tests.integration.gateway.process import Gateway

JOB = "reported"
WEBHOOK = f"/tokens/webhook/analysis-complete?job_id={JOB}"


def nested(levels: int, kind: str) -> dict[str, Any]:
    """A result of this many levels: of objects, arrays or both in turn."""

    def wrapped(inner: Any, level: int) -> Any:
        is_object = kind == "objects" or (kind == "both" and level % 2)
        return {"key": inner} if is_object else [inner]

    return {"outermost": reduce(wrapped, range(levels - 1), 1.5)}


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\0", "\ud800", "\U0001f399", 10**400, 2**63, float("nan"), -0.0])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
results = st.dictionaries(st.text(), values, max_size=4) | st.builds(
    nested, st.integers(1, MAX_LEVELS + 10), st.sampled_from(["objects", "arrays", "both"])
)


def body_of(result: dict[str, Any]) -> bytes:
    return json.dumps({"analysis_results": result}).encode()


def parsed(body: bytes) -> Report:
    return asyncio.run(ReportParser(8 * MIB).parse(body))


@given(results)
@example(nested(MAX_LEVELS, "objects"))
@example(nested(MAX_LEVELS, "arrays"))
@example({"score": 5e-324, "large": 1.7976931348623157e308, "text": "\0\u2028"})
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_an_accepted_result_can_be_read_in_every_way(
    client: httpx.Client, channel: grpc.Channel, result: dict[str, Any]
) -> None:
    body = body_of(result)
    try:
        parsed(body)
    except ResultUnreadable:
        return
    assert client.post(WEBHOOK, content=body).status_code == 200

    reported = json.loads(body, parse_int=float)["analysis_results"]
    assert client.get(f"/tokens/analysis-result/{JOB}").json()["result"] == reported
    assert client.get(f"/analyses/{JOB}").json()["result"] == reported
    event = client.get(f"/tokens/analysis-progress/{JOB}").text.strip()
    assert json.loads(event.removeprefix("data: "))["result"] == reported
    stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
    analysis = stub.GetAnalysis(analysis_pb2.GetAnalysisRequest(job_id=JOB))
    assert json_format.MessageToDict(analysis.result) == reported


@pytest.mark.parametrize("kind", ["objects", "arrays", "both"])
def test_a_result_that_nests_too_deep_is_refused(kind: str) -> None:
    with pytest.raises(ResultUnreadable, match=f"at most {MAX_LEVELS} levels"):
        parsed(body_of(nested(MAX_LEVELS + 1, kind)))


def test_the_largest_result_can_be_read(tmp_path: Path, services: Services) -> None:
    numbers = [1] * 1_510_000
    body = body_of({"n": numbers}).replace(b" ", b"")
    gateway = Gateway(
        tmp_path, services, gateway_webhook_body_bytes=8 * MIB, gateway_call_seconds=60
    )
    with gateway.running() as client:
        client.timeout = 60
        assert client.post(WEBHOOK, content=body).status_code == 200
        assert client.get(f"/analyses/{JOB}").json()["result"] == {"n": numbers}


def test_a_result_that_the_gateway_could_not_send_is_refused() -> None:
    with pytest.raises(ResultUnreadable, match="bytes as protobuf"):
        parsed(body_of({"n": [1] * 1_530_000}))
