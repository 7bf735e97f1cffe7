"""The gateway does what HTTP clients, proxies and browsers expect of a server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from gateway.contract import read_bindings
from gateway.settings import GatewaySettings
from tests.integration.gateway.fake_services import NAMES, Services
from tests.integration.gateway.process import Gateway, reason

PROGRESS = "/tokens/analysis-progress"


@pytest.mark.parametrize("path", ["/tokens/1", "/analyses", "/analyses/1", "/nowhere"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("etags", ['"1"', 'W/"1"', '"0", "1"', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_resource_that_the_client_has_is_not_sent(
    client: httpx.Client, method: str, etags: str
) -> None:
    answer = client.request(method, "/tokens/1", headers={"if-none-match": etags})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == 'W/"1"'
    assert client.get("/tokens/1").status_code == 200


@pytest.mark.parametrize("etags", ['"2"', "1", '"11"', ""])
def test_a_resource_that_the_client_does_not_have_is_sent(client: httpx.Client, etags: str) -> None:
    answer = client.get("/tokens/1", headers={"if-none-match": etags})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    assert answer.json()["id"] == 1


def test_head_of_an_event_stream_ends(client: httpx.Client) -> None:
    answer = client.head(f"{PROGRESS}/endless")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert client.get("/tokens/1").status_code == 200


def test_a_large_response_is_compressed(client: httpx.Client) -> None:
    answer = client.get("/tokens/analysis-result/100000")
    assert answer.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert len(answer.json()["result"]["text"]) == 100_000
    plain = client.get("/tokens/analysis-result/100000", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_the_page_of_the_api_is_compressed(client: httpx.Client) -> None:
    assert client.get("/docs/swagger-ui-bundle.js").headers["content-encoding"] == "gzip"


def test_an_event_stream_is_not_compressed(client: httpx.Client) -> None:
    assert "content-encoding" not in client.get(f"{PROGRESS}/completed").headers


def raw(gateway: Gateway, request: str) -> str:
    host, port = gateway.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request.encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    return received.decode()


@pytest.mark.parametrize("path", ["/healthz", "/tokens/1"])
def test_clients_of_http_1_0_are_served(client: httpx.Client, gateway: Gateway, path: str) -> None:
    answer = raw(gateway, f"GET {path} HTTP/1.0\r\n\r\n")
    assert answer.split("\r\n")[0].split()[1] == "200"


@pytest.mark.parametrize("name", ["mine", "0123-ABC-xyz"])
def test_a_sane_request_id_is_kept(client: httpx.Client, name: str) -> None:
    answer = client.get("/tokens/1", headers={"x-request-id": name})
    assert answer.headers["x-request-id"] == name
    assert json.loads(answer.json()["category"])["x-request-id"] == name


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 'a"b', "a;b"])
def test_another_request_id_is_replaced(client: httpx.Client, name: str) -> None:
    answer = client.get("/tokens/1", headers={"x-request-id": name})
    generated = answer.headers["x-request-id"]
    assert generated != name
    assert len(generated) == 36
    assert json.loads(answer.json()["category"])["x-request-id"] == generated


@pytest.mark.parametrize("path", ["/tokens/1", "/nowhere", "/docs", "/healthz"])
def test_every_response_has_the_headers_that_protect_browsers(
    client: httpx.Client, path: str
) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers


def test_browsers_stay_with_tls(tmp_path: Path, services: Services) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    gateway = Gateway(
        tmp_path,
        services,
        gateway_tls_certificate_file=tmp_path / "chain.pem",
        gateway_tls_key_file=tmp_path / "key.pem",
    )
    with gateway.running(scheme="https") as client:
        assert "max-age=" in client.get("/tokens/1").headers["strict-transport-security"]


@pytest.mark.parametrize("path", ["/tokens/1", "/tokens/analysis-result/1"])
def test_a_cache_must_ask_again(client: httpx.Client, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_refusal_of_a_service_says_when_to_retry(client: httpx.Client, status: str) -> None:
    answer = client.post(f"/tokens/{status}/upload-audio", files={"file": b"x"})
    assert answer.status_code == int(status)
    assert int(answer.headers["retry-after"]) > 0


BINDINGS = read_bindings(GatewaySettings().gateway_descriptor, NAMES)


@pytest.mark.parametrize("template", sorted({binding.template for binding in BINDINGS}))
def test_a_path_names_the_methods_that_it_accepts(client: httpx.Client, template: str) -> None:
    accepted = {binding.verb for binding in BINDINGS if binding.template == template}
    path = re.sub("{[^}]+}", "9", template.replace("{kind}", "voice"))
    for slash in ("", "/"):
        answer = client.request("PUT", path + slash)
        assert (answer.status_code, reason(answer)) == (405, "METHOD_NOT_ALLOWED")
        allowed = set(answer.headers["allow"].split(", "))
        assert accepted <= allowed
        assert ("HEAD" in allowed) is ("GET" in allowed or "HEAD" in accepted)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/healthz"])
def test_a_page_accepts_reads_only(client: httpx.Client, path: str) -> None:
    answer = client.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/JSON; charset=utf-8", "application/merge-patch+json", None],
)
def test_json_is_accepted_with_its_media_types(
    client: httpx.Client, media_type: str | None
) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = client.post("/tokens", content='{"name": "x"}', headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_json_with_another_media_type_is_refused(client: httpx.Client, media_type: str) -> None:
    headers = {"content-type": media_type}
    answer = client.post("/tokens", content='{"name": "x"}', headers=headers)
    assert (answer.status_code, reason(answer)) == (415, "MEDIA_TYPE_NOT_SUPPORTED")


def test_a_report_may_have_any_media_type(client: httpx.Client) -> None:
    answer = client.post(
        "/tokens/webhook/analysis-complete?job_id=1",
        content='{"analysis_results": {"text": "x"}}',
        headers={"content-type": "text/plain"},
    )
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[httpx.Client]:
    gateway = Gateway(
        tmp_path_factory.mktemp("listed"),
        services,
        gateway_cors_origins="https://page.example",
        gateway_cors_headers="x-custom",
        gateway_cors_credentials=True,
    )
    with gateway.running() as client:
        yield client


def preflight(client: httpx.Client, header: str, origin: str = "https://page.example") -> set[str]:
    answer = client.options(
        "/tokens/1",
        headers={
            "origin": origin,
            "access-control-request-method": "GET",
            "access-control-request-headers": header,
        },
    )
    allowed = answer.headers.get("access-control-allow-headers", "")
    return {name.strip() for name in allowed.split(",")}


@pytest.mark.parametrize(
    "header",
    [
        *("authorization", "baggage", "cache-control", "if-match", "if-none-match"),
        *("last-event-id", "range", "sentry-trace", "traceparent", "tracestate", "x-api-key"),
        "x-requested-with",
    ],
)
def test_pages_may_send_what_their_libraries_add(client: httpx.Client, header: str) -> None:
    assert header in preflight(client, header)


def test_the_headers_of_pages_are_a_setting(listed: httpx.Client) -> None:
    assert preflight(listed, "x-custom") == {"x-custom"}


def test_pages_of_listed_origins_may_send_credentials(listed: httpx.Client) -> None:
    headers = listed.get("/tokens/1", headers={"origin": "https://page.example"}).headers
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-origin"] == "https://page.example"


def test_a_cache_separates_origins(listed: httpx.Client) -> None:
    assert "origin" in listed.get("/tokens/1").headers["vary"]


def test_pages_of_other_origins_cannot_call_by_default(tmp_path: Path, services: Services) -> None:
    with Gateway(tmp_path, services).running() as client:
        answer = client.get("/tokens/1", headers={"origin": "https://page.example"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_proxy_can_add_a_path_prefix(client: httpx.Client) -> None:
    headers = {"x-forwarded-prefix": "/api/v1", "tus-resumable": "1.0.0", "upload-length": "1"}
    assert client.post("/uploads", headers=headers).headers["location"] == "/api/v1/uploads/1"


@pytest.mark.parametrize("prefix", ["//evil.example", "https://evil.example", "/a\tb", "/"])
def test_a_malformed_path_prefix_is_ignored(client: httpx.Client, prefix: str) -> None:
    headers = {"x-forwarded-prefix": prefix, "tus-resumable": "1.0.0", "upload-length": "1"}
    assert client.post("/uploads", headers=headers).headers["location"] == "/uploads/1"


def test_a_path_without_variables_has_its_own_methods(client: httpx.Client) -> None:
    # The path of an account, `/accounts/{account_id}`, matches, too.
    answer = client.get("/accounts/clients")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
