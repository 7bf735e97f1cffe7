"""Bytes that are not UTF-8 are a mistake of the caller, wherever they are in a request."""

from __future__ import annotations

import socket

import httpx
import pytest

from stack.stack import Stack
from tests.e2e.product import error_info
from tests.e2e.uploading import wav

KOREAN = "수".encode("euc-kr")
UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"
TUS = {"tus-resumable": "1.0.0"}
INTERNALS = ("DecodeError", "sori.", "Exception", "protobuf")


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 400, answer.text
    assert error_info(answer)["reason"] in ("REQUEST_MALFORMED", "INVALID_FIELD")
    assert not [word for word in INTERNALS if word in answer.text]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/actors:search?query=%BC%F6"),
        ("GET", "/tokens:search?query=%FF"),
        ("GET", "/tokens?category=%FF"),
        ("GET", "/tokens?page_token=%FF"),
        ("GET", "/actors?page_token=%FF"),
        ("GET", "/scripts?page_token=%FF"),
        ("GET", "/analyses?status=%FF"),
        ("GET", "/analyses?page_token=%FF"),
        ("GET", "/analyses/%FF"),
        ("GET", "/tokens/analysis-result/%FF"),
        ("GET", "/tokens/analysis-progress/%FF"),
        ("POST", "/analyses/%FF:cancel"),
        ("POST", "/analyses/%FF:retry"),
        ("DELETE", "/actors/999999?etag=%FF"),
        ("DELETE", "/tokens/999999?etag=%FF"),
        ("PATCH", "/actors/999999?update_mask=%FF"),
        ("POST", f"/tokens/webhook/analysis-complete?job_id={UNKNOWN_JOB}&signature=%FF"),
        ("PATCH", "/uploads/%FF"),
        ("DELETE", "/uploads/%FF"),
        ("POST", "/tokens/1/reference-assets/%FF"),
    ],
)
def test_a_url_that_is_not_utf8_is_refused(gateway: httpx.Client, method: str, path: str) -> None:
    headers = {**TUS, "content-type": "application/json"}
    if "reference-assets" in path:
        headers["content-type"] = "multipart/form-data; boundary=x"
    elif (method, path) == ("PATCH", "/uploads/%FF"):
        headers["content-type"] = "application/offset+octet-stream"
        headers["upload-offset"] = "0"
    body = b"{}" if method in ("POST", "PATCH") else None
    assert_refused(gateway.request(method, path, headers=headers, content=body))


def test_the_state_of_an_upload_whose_id_is_not_utf8_is_refused(gateway: httpx.Client) -> None:
    assert gateway.head("/uploads/%FF", headers=TUS).status_code == 400


def test_a_body_that_is_not_utf8_is_refused(gateway: httpx.Client) -> None:
    assert_refused(gateway.post("/actors", content=b'{"name": "' + KOREAN + b'"}'))


def test_a_boundary_that_is_not_utf8_is_refused(gateway: httpx.Client) -> None:
    answer = gateway.post(
        "/tokens/1/upload-audio",
        headers={b"content-type": b"multipart/form-data; boundary=\xff"},
        content=b"--x--",
    )
    assert_refused(answer)


@pytest.mark.parametrize(
    "name", ["upload-metadata", "upload-concat", "upload-length", "upload-checksum"]
)
def test_a_tus_header_that_is_not_utf8_is_refused(gateway: httpx.Client, name: str) -> None:
    valid = {**TUS, "upload-length": "10", "upload-metadata": "token_id MQ=="}
    headers = httpx.Headers(valid)
    headers[name] = KOREAN.decode("latin-1")
    assert_refused(gateway.post("/uploads", headers=headers))


def test_tus_metadata_that_is_not_utf8_is_refused(gateway: httpx.Client) -> None:
    # The metadata's value is ÿ in Latin-1, in base64.
    headers = {**TUS, "upload-length": "10", "upload-metadata": "token_id /w=="}
    assert_refused(gateway.post("/uploads", headers=headers))


def test_an_idempotency_key_that_is_not_utf8_is_refused(
    gateway: httpx.Client, held_token: int
) -> None:
    answer = gateway.post(
        f"/tokens/{held_token}/upload-audio",
        headers={b"idempotency-key": KOREAN},
        files={"file": ("take.wav", wav(1000))},
    )
    assert_refused(answer)


@pytest.mark.parametrize("name", ["accept-language", "x-request-id", "user-agent", "x-any"])
def test_another_header_that_is_not_utf8_changes_nothing(
    stack: Stack, gateway: httpx.Client, name: str
) -> None:
    headers = {name.encode(): KOREAN}
    assert gateway.get("/tokens?page_size=1", headers=headers).status_code == 200
    assert "Invalid encoding" not in stack.logs("catalog")


@pytest.mark.parametrize("encoding", ["utf-8", "euc-kr"])
def test_korean_that_is_not_percent_encoded_is_explained(
    gateway: httpx.Client, encoding: str
) -> None:
    url = gateway.base_url
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        request = f"GET /actors:search?query=수지 HTTP/1.1\r\nHost: {url.host}\r\n\r\n"
        connection.sendall(request.encode(encoding))
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 400")
    assert "percent-encode" in answer
