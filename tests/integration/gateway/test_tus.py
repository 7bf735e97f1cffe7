"""tus through the gateway: Envoy passes its headers and bodies correctly.

Behind it stand the real TusService and, in place of the uploads in S3, some in memory.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest

from services.runtime.errors import SoriError, StorageUnavailable
from services.upload.errors import (
    ChunkChecksumMismatch,
    RecordingTooLarge,
    TooManyOpenUploads,
    UnsupportedAudio,
    UploadEnded,
    UploadIdle,
    UploadNotFound,
    UploadOffsetBehind,
)
from sori.upload.v1 import tus_pb2, tus_pb2_grpc, upload_pb2, upload_pb2_grpc
from tests.integration.gateway.process import Gateway, reason
from tests.integration.gateway.uploads_in_memory import JOB, MIB, SOME, InMemory, Service

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
TOKEN = {"Upload-Metadata": "token_id Nw==,filename dGFrZS53YXY="}
PATH = f"/uploads/{SOME}"


def behind_gateway(folder: Path, service: Service) -> Gateway:
    # A gateway only needs the address of a service.
    return Gateway(folder, service, gateway_cors_origins="*")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def kept() -> InMemory:
    return InMemory()


@pytest.fixture(scope="module")
def service(kept: InMemory) -> Iterator[Service]:
    service = Service(kept)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Gateway:
    return behind_gateway(tmp_path_factory.mktemp("gateway"), service)


@pytest.fixture(scope="module")
def running(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.running() as client:
        yield client


@pytest.fixture
def client(running: httpx.Client, uploads: InMemory) -> httpx.Client:
    return running


@pytest.fixture
def uploads(kept: InMemory) -> InMemory:
    kept.reset()
    return kept


@pytest.fixture
def connection(gateway: Gateway, client: httpx.Client) -> Iterator[HTTPConnection]:
    """One connection; it breaks if a response has more bytes than its headers announce."""
    with closing(HTTPConnection(gateway.address, timeout=10)) as connection:
        connection.connect()
        yield connection


def created(client: httpx.Client) -> None:
    answer = client.post("/uploads", headers={**TUS, **TOKEN, "Upload-Length": str(50 * MIB)})
    assert answer.status_code == 201, answer.text


def exchange(
    connection: HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any = None
) -> HTTPResponse:
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    assert answer.read() == b""
    assert not answer.will_close
    return answer


@pytest.mark.parametrize("path", ["/uploads", PATH])
def test_options(client: httpx.Client, path: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(64 * MIB)
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,crc32c"
    assert "concatenation" in answer.headers["tus-extension"].split(",")


def test_a_creation_needs_no_body_and_no_media_type(
    connection: HTTPConnection, uploads: InMemory
) -> None:
    headers = {**TUS, **TOKEN, "Upload-Length": "5", "Content-Length": "0"}
    answer = exchange(connection, "POST", "/uploads", headers)
    assert answer.status == 201
    assert answer.headers["location"] == PATH
    assert answer.headers["x-job-id"] == str(JOB)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert parsedate_to_datetime(answer.headers["upload-expires"]).tzinfo is not None
    assert answer.headers.get("content-type") is None
    assert answer.headers.get("x-http-code") is None
    assert uploads.upload is not None
    assert uploads.upload.plan.size == 5


def test_a_creation_with_upload_is_streamed(client: httpx.Client, uploads: InMemory) -> None:
    headers = {**BYTES, **TOKEN, "Upload-Length": str(50 * MIB)}
    answer = client.post("/uploads", headers=headers, content=bytes(50 * MIB))
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["upload-offset"] == str(50 * MIB)
    assert max(uploads.pieces) <= MIB


def test_responses_without_content_have_no_headers_of_a_body(
    client: httpx.Client, connection: HTTPConnection
) -> None:
    created(client)
    for method, headers, body in (
        ("OPTIONS", {}, None),
        ("PATCH", BYTES, b"hello"),
        ("DELETE", TUS, None),
    ):
        answer = exchange(connection, method, PATH, headers, body)
        assert answer.status == 204
        for header in ("content-type", "content-length", "transfer-encoding", "x-http-code"):
            assert answer.headers.get(header) is None


def test_head_has_no_body(client: httpx.Client, connection: HTTPConnection) -> None:
    created(client)
    answer = exchange(connection, "HEAD", PATH, TUS)
    assert answer.status == 200
    assert answer.headers["upload-offset"] == "0"
    assert answer.headers["upload-length"] == str(50 * MIB)
    assert answer.headers["upload-metadata"] == TOKEN["Upload-Metadata"]
    assert answer.headers["cache-control"] == "no-store"
    # The connection still works: no bytes of a body are left on it.
    assert exchange(connection, "HEAD", f"/uploads/{uuid4()}", {}).status == 412
    assert exchange(connection, "HEAD", "/uploads/none", TUS).status == 404
    assert exchange(connection, "HEAD", "/nowhere", TUS).status == 404
    assert exchange(connection, "OPTIONS", "/uploads", TUS).status == 204


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (UploadNotFound(upload_id=SOME), 404),
        (UploadIdle(seconds=30), 408),
        (UploadOffsetBehind(offset=0, committed_size=5), 409),
        (UploadEnded.of(SOME, "expired", ""), 410),
        (RecordingTooLarge(limit_bytes=1), 413),
        (UnsupportedAudio(supported="WAV"), 415),
        (ChunkChecksumMismatch(algorithm="sha1"), 460),
        (StorageUnavailable(), 503),
    ],
    ids=lambda value: str(getattr(value, "reason", "")),
)
def test_errors_have_their_status_and_the_headers_of_tus(
    client: httpx.Client, uploads: InMemory, failure: SoriError, status: int
) -> None:
    uploads.failure = failure
    answer = client.patch(PATH, headers=BYTES, content=b"hello")
    assert (answer.status_code, reason(answer)) == (status, failure.reason)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert "upload-offset" not in answer.headers
    head = client.head(PATH, headers=TUS)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers["tus-resumable"] == "1.0.0"


def test_a_client_over_its_limit_gets_the_seconds_to_wait(
    client: httpx.Client, uploads: InMemory
) -> None:
    uploads.failure = TooManyOpenUploads(limit=5, seconds=30)
    answer = client.post("/uploads", headers={**TUS, **TOKEN, "Upload-Length": "5"})
    assert (answer.status_code, reason(answer)) == (429, "TOO_MANY_OPEN_UPLOADS")
    assert answer.headers["retry-after"] == "30"


def test_another_version_is_refused_with_the_supported_one(client: httpx.Client) -> None:
    answer = client.patch(PATH, headers={**BYTES, "Tus-Resumable": "0.2.2"}, content=b"x")
    assert (answer.status_code, reason(answer)) == (412, "TUS_VERSION_UNSUPPORTED")
    assert answer.headers["tus-version"] == "1.0.0"


@pytest.mark.parametrize("parameters", ["", "; charset=UTF-8", ";charset=utf-8;x=y"])
def test_the_content_type_of_bytes_may_have_parameters(
    client: httpx.Client, uploads: InMemory, parameters: str
) -> None:
    created(client)
    headers = {**BYTES, "Content-Type": BYTES["Content-Type"] + parameters}
    assert client.patch(PATH, headers=headers, content=b"hello").status_code == 204
    assert uploads.pieces == [5]


@pytest.mark.parametrize("content_type", ["audio/wav", ""])
def test_bytes_of_another_media_type_are_refused(client: httpx.Client, content_type: str) -> None:
    created(client)
    headers = {**BYTES, "Content-Type": content_type}
    answer = client.patch(PATH, headers=headers, content=b"hello")
    assert (answer.status_code, reason(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/uploads", 405),
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", "/uploads?unknown=1", 400),
        ("DELETE", f"{PATH}/more", 404),
    ],
)
def test_local_replies_have_the_headers_of_tus(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, headers=TUS)
    assert (answer.status_code, bool(reason(answer))) == (status, True)
    assert answer.headers["tus-resumable"] == "1.0.0"


def test_a_stopped_service_is_unavailable(tmp_path: Path) -> None:
    service = Service(InMemory())
    service.start()
    with behind_gateway(tmp_path, service).running() as client:
        service.stop()
        answer = client.patch(PATH, headers=BYTES, content=bytes(MIB))
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert answer.headers["retry-after"]


@pytest.mark.parametrize("chunked", [False, True], ids=["of known length", "chunked"])
def test_a_write_is_streamed(client: httpx.Client, uploads: InMemory, chunked: bool) -> None:
    created(client)
    pieces = (bytes(MIB) for _ in range(50))
    content = pieces if chunked else bytes(50 * MIB)
    answer = client.patch(PATH, headers=BYTES, content=content)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["upload-offset"] == str(50 * MIB)
    assert answer.headers["upload-expires"]
    assert max(uploads.pieces) <= MIB


def begun_write(gateway: Gateway, size: int, **others: str) -> socket.socket:
    """A PATCH with this Content-Length that has sent only its headers."""
    host, port = gateway.address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = [f"PATCH {PATH} HTTP/1.1", "Host: a", f"Content-Length: {size}"]
    lines = [*head, *(f"{name}: {value}" for name, value in {**BYTES, **others}.items()), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def test_a_write_arrives_while_it_is_sent(
    client: httpx.Client, gateway: Gateway, uploads: InMemory
) -> None:
    created(client)
    with closing(begun_write(gateway, 2000)) as connection:
        connection.sendall(bytes(1000))
        assert uploads.has_some.wait(5)
        assert not uploads.ended.is_set()
        connection.sendall(bytes(1000))
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")


def test_a_client_that_expects_100_continue_gets_it_before_it_sends_bytes(
    client: httpx.Client, gateway: Gateway
) -> None:
    created(client)
    with closing(begun_write(gateway, 2000, Expect="100-continue")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(bytes(2000))
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")


def test_the_bytes_of_a_client_that_vanishes_are_kept(
    client: httpx.Client, gateway: Gateway, uploads: InMemory
) -> None:
    created(client)
    with closing(begun_write(gateway, 2000)) as connection:
        connection.sendall(bytes(1000))
        assert uploads.has_some.wait(5)
    assert uploads.ended.wait(5)
    assert client.head(PATH, headers=TUS).headers["upload-offset"] == "1000"


def test_a_large_write_that_is_refused_immediately_gets_the_reason(
    client: httpx.Client, uploads: InMemory
) -> None:
    uploads.failure = UploadOffsetBehind(offset=0, committed_size=5)
    answer = client.patch(PATH, headers=BYTES, content=bytes(12 * MIB))
    assert (answer.status_code, reason(answer)) == (409, "UPLOAD_OFFSET_BEHIND")


@pytest.mark.parametrize(("method", "status"), [("PATCH", 204), ("HEAD", 200), ("DELETE", 204)])
def test_post_can_override_the_method(
    client: httpx.Client, connection: HTTPConnection, method: str, status: int
) -> None:
    created(client)
    headers = {**BYTES, "X-HTTP-Method-Override": method, "Content-Length": "0"}
    answer = exchange(connection, "POST", PATH, headers)
    assert answer.status == status
    assert exchange(connection, "OPTIONS", PATH, {}).status == 204


@pytest.mark.parametrize(
    ("method", "path", "override"),
    [("GET", PATH, "DELETE"), ("POST", "/tokens/1", "DELETE"), ("POST", PATH, "PURGE")],
)
def test_no_other_method_is_overridden(
    client: httpx.Client, method: str, path: str, override: str
) -> None:
    answer = client.request(method, path, headers={**TUS, "X-HTTP-Method-Override": override})
    assert (answer.status_code, reason(answer)) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_pages_of_other_origins_can_upload(client: httpx.Client, method: str) -> None:
    wanted = {
        *("content-type", "idempotency-key", "tus-resumable", "upload-checksum", "upload-concat"),
        *("upload-defer-length", "upload-length", "upload-metadata", "upload-offset"),
        *("x-http-method-override", "x-request-id", "x-requested-with"),
    }
    answer = client.options(
        PATH,
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": ",".join(sorted(wanted)),
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert method in names_in(answer.headers["access-control-allow-methods"])
    assert wanted <= names_in(answer.headers["access-control-allow-headers"])


def test_pages_of_other_origins_can_read_the_headers_of_tus(client: httpx.Client) -> None:
    created(client)
    origin = {"Origin": "https://page.example"}
    for answer in (
        client.options("/uploads", headers=origin),
        client.post(
            "/uploads",
            headers={
                **TUS,
                **TOKEN,
                **origin,
                "Upload-Concat": "partial",
                "Upload-Defer-Length": "1",
            },
        ),
        client.head(PATH, headers={**TUS, **origin}),
        client.patch(PATH, headers={**origin}),
    ):
        names = {
            name
            for name in answer.headers
            if name.startswith(("tus-", "upload-")) or name in ("location", "x-job-id")
        }
        assert "tus-resumable" in names
        assert names <= names_in(answer.headers["access-control-expose-headers"])


def names_in(header: str) -> set[str]:
    return {name.strip() for name in header.split(",")}


def test_grpc_passes_unchanged(client: httpx.Client, gateway: Gateway) -> None:
    created(client)
    with grpc.insecure_channel(gateway.address) as channel:
        _, uploads = upload_pb2_grpc.UploadServiceStub(channel).GetUpload.with_call(
            upload_pb2.GetUploadRequest(upload_id=str(SOME))
        )
        _, tus = tus_pb2_grpc.TusServiceStub(channel).GetTusUpload.with_call(
            tus_pb2.GetTusUploadRequest(upload_id=str(SOME)), metadata=(("tus-resumable", "1.0.0"),)
        )
    names = {str(key) for key, _ in uploads.initial_metadata() or ()}
    assert not {name for name in names if name.startswith("tus-")}
    assert dict(tus.initial_metadata() or ())["x-http-code"] == "200"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/healthz"])
def test_head_of_other_paths_is_like_get(client: httpx.Client, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.get("content-type") == got.headers.get("content-type")
    assert head.headers.get("content-length") in (got.headers.get("content-length"), None)
