"""tus 1.0.0 at /uploads, as its specification requires."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import google_crc32c
import httpx
import pytest
from tusclient.client import TusClient

from services.upload.models import recording_key
from sori.upload.v1 import upload_pb2 as pb
from tests.e2e.product import Json, Product, error_info
from tests.e2e.tus import BYTES, CONTENT, LONG, Tus, metadata, upload_of
from tests.e2e.uploading import MIB, Uploader, assert_analysed
from tests.e2e.waiting import eventually


def test_options_list_the_supported_extensions(gateway: httpx.Client) -> None:
    answer = gateway.options("/uploads")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(24 * MIB)
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,crc32c"
    assert answer.headers["tus-extension"].split(",") == [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ]


def test_a_created_upload_can_be_looked_up(tus: Tus) -> None:
    answer = tus.create(len(CONTENT))
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"].startswith("/uploads/")
    assert parsedate_to_datetime(answer.headers["upload-expires"]).tzinfo is not None
    head = tus.head(answer.headers["location"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["upload-offset"] == "0"
    assert head.headers["upload-length"] == str(len(CONTENT))
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-metadata"] == metadata(token_id=tus.token_id, filename="한글.wav")
    assert head.headers["x-job-id"] == answer.headers["x-job-id"]


def test_the_last_byte_completes_the_upload(product: Product, uploader: Uploader, tus: Tus) -> None:
    location = tus.create_upload(len(LONG))
    first = tus.patch(location, 0, LONG[: 7 * MIB])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(7 * MIB))
    assert tus.head(location).headers["upload-offset"] == str(7 * MIB)
    last = tus.patch(location, 7 * MIB, LONG[7 * MIB :])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(LONG)))
    assert tus.head(location).headers["upload-offset"] == str(len(LONG))
    upload = upload_of(uploader, location)
    assert upload.job_id == last.headers["x-job-id"]
    assert product.analysis(upload.job_id)["recording"]["file_name"] == "한글.wav"
    assert_analysed(product, upload, LONG)


@pytest.mark.parametrize("sent", [1000, len(CONTENT)], ids=["the first bytes", "all"])
def test_a_creation_may_carry_bytes(
    product: Product, uploader: Uploader, tus: Tus, sent: int
) -> None:
    answer = tus.create(len(CONTENT), CONTENT[:sent])
    assert answer.status_code == 201, answer.text
    assert answer.headers["upload-offset"] == str(sent)
    location = answer.headers["location"]
    if sent < len(CONTENT):
        tus.patch(location, sent, CONTENT[sent:])
    assert_analysed(product, upload_of(uploader, location), CONTENT)


def test_the_length_may_be_declared_in_a_later_request(
    product: Product, uploader: Uploader, tus: Tus
) -> None:
    location = tus.create_upload(None)
    assert tus.head(location).headers["upload-defer-length"] == "1"
    tus.patch(location, 0, CONTENT[:1000])
    tus.patch(location, 1000, CONTENT[1000:2000], **{"Upload-Length": str(len(CONTENT))})
    assert tus.head(location).headers["upload-length"] == str(len(CONTENT))
    tus.patch(location, 2000, CONTENT[2000:])
    assert_analysed(product, upload_of(uploader, location), CONTENT)


def test_the_length_may_be_declared_after_all_bytes(
    product: Product, uploader: Uploader, tus: Tus
) -> None:
    location = tus.create_upload(None)
    tus.patch(location, 0, CONTENT)
    assert upload_of(uploader, location).state == pb.UPLOAD_STATE_RECEIVING
    tus.patch(location, len(CONTENT), b"", **{"Upload-Length": str(len(CONTENT))})
    assert_analysed(product, upload_of(uploader, location), CONTENT)


@pytest.mark.parametrize("offset", [0, 999, 1001])
def test_a_wrong_offset_is_a_conflict(tus: Tus, offset: int) -> None:
    location = tus.create_upload(len(CONTENT))
    tus.patch(location, 0, CONTENT[:1000])
    answer = tus.patch(location, offset, CONTENT[offset:])
    assert answer.status_code == 409
    assert error_info(answer)["metadata"]["committed_size"] == "1000"
    assert tus.head(location).headers["upload-offset"] == "1000"


DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda content: hashlib.sha1(content).digest(),
    "sha256": lambda content: hashlib.sha256(content).digest(),
    "crc32c": lambda content: google_crc32c.value(content).to_bytes(4, "big"),
}


@pytest.mark.parametrize("algorithm", DIGESTS)
@pytest.mark.parametrize("size", [1000, 11 * MIB], ids=["within a part", "over parts"])
def test_a_checksum_is_verified_before_bytes_are_kept(
    product: Product, uploader: Uploader, tus: Tus, algorithm: str, size: int
) -> None:
    location = tus.create_upload(len(LONG))
    piece = LONG[:size]
    digest = base64.b64encode(DIGESTS[algorithm](piece)).decode()
    checksum = {"Upload-Checksum": f"{algorithm} {digest}"}
    flipped = piece[:-1] + bytes([piece[-1] ^ 1])
    assert tus.patch(location, 0, flipped, **checksum).status_code == 460
    assert tus.head(location).headers["upload-offset"] == "0"
    assert product.object_keys(f"tails{location.removeprefix('/uploads')}/") == []
    assert tus.patch(location, 0, piece, **checksum).status_code == 204
    assert tus.patch(location, size, LONG[size:]).status_code == 204
    assert_analysed(product, upload_of(uploader, location), LONG)


def test_a_terminated_upload_leaves_nothing_in_s3(product: Product, tus: Tus) -> None:
    answer = tus.create(len(LONG))
    location = answer.headers["location"]
    tus.patch(location, 0, LONG[: 6 * MIB])
    deleted = tus.request("DELETE", location)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for again in (tus.head(location), tus.patch(location, 6 * MIB, b"x")):
        assert again.status_code == 410
    assert product.final_result(answer.headers["x-job-id"])["failure_reason"] == "UPLOAD_CANCELLED"
    assert product.recording_keys(tus.token_id) == []


def test_deleting_a_completed_upload_keeps_its_job_and_recording(
    product: Product, tus: Tus
) -> None:
    answer = tus.create(len(CONTENT))
    location, job_id = answer.headers["location"], answer.headers["x-job-id"]
    assert tus.patch(location, 0, CONTENT).status_code == 204
    deleted = tus.request("DELETE", location)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for again in (tus.head(location), tus.request("DELETE", location)):
        assert again.status_code == 404
    assert product.result(job_id)["status"] == "processing"
    assert product.recording_keys(tus.token_id) == [recording_key(tus.token_id, UUID(job_id))]


def test_a_repeated_idempotency_key_returns_the_same_upload(tus: Tus) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = tus.create(1000, headers=key)
    again = tus.create(1000, headers=key)
    assert again.headers["location"] == first.headers["location"]
    assert tus.create(1001, headers=key).status_code == 422


def test_a_client_may_override_the_http_method(
    product: Product, uploader: Uploader, tus: Tus
) -> None:
    location = tus.create_upload(len(CONTENT))
    override = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", **BYTES}
    assert tus.request("POST", location, override, CONTENT).status_code == 204
    assert_analysed(product, upload_of(uploader, location), CONTENT)
    other = tus.create_upload(5)
    assert tus.request("POST", other, {"X-HTTP-Method-Override": "DELETE"}).status_code == 204


def test_a_body_of_unknown_length_is_accepted(
    product: Product, uploader: Uploader, tus: Tus
) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(LONG), 300_000):
            yield LONG[start : start + 300_000]

    location = tus.create_upload(len(LONG))
    assert tus.patch(location, 0, pieces()).status_code == 204
    assert_analysed(product, upload_of(uploader, location), LONG)


@pytest.mark.parametrize("sent", [1000, 6 * MIB])
def test_bytes_of_a_vanished_client_are_kept(
    product: Product, uploader: Uploader, tus: Tus, sent: int
) -> None:
    location = tus.create_upload(len(LONG))
    url = urlsplit(str(tus.gateway.base_url))
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: sori\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(LONG)}\r\n\r\n"
    )
    job_id = tus.head(location).headers["x-job-id"]
    with socket.create_connection((url.hostname, url.port or 80)) as connection:
        connection.sendall(head.encode() + LONG[:sent])
        # Once the job shows progress, the first bytes have arrived.
        next(state for state in product.states(job_id) if state["progress"] >= 40)
        eventually(lambda: tus.offset(location) >= sent // (5 * MIB) * 5 * MIB)
    eventually(lambda: tus.offset(location) > 0)
    eventually(lambda: tus.sends_rest(location, LONG))
    assert_analysed(product, upload_of(uploader, location), LONG)


INVALID_CREATIONS: dict[str, tuple[Json, int]] = {
    "no length": ({"Upload-Metadata": metadata(token_id=1)}, 400),
    "negative length": ({"Upload-Length": "-1"}, 400),
    "both lengths": ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 400),
    "invalid Upload-Defer-Length": ({"Upload-Defer-Length": "2"}, 400),
    "empty file": ({"Upload-Length": "0"}, 400),
    "too large": ({"Upload-Length": str(25 * MIB)}, 413),
    "no token": ({"Upload-Length": "5", "Upload-Metadata": metadata(filename="a")}, 400),
    "unknown token": (
        {"Upload-Length": "5", "Upload-Metadata": metadata(token_id=2**31 - 1)},
        404,
    ),
    "malformed metadata": ({"Upload-Length": "5", "Upload-Metadata": "token_id !"}, 400),
    "duplicate metadata key": (
        {"Upload-Length": "5", "Upload-Metadata": f"{metadata(token_id=1)},token_id MQ=="},
        400,
    ),
    "concatenation of nothing": ({"Upload-Concat": "final;"}, 400),
    "concatenation of invalid paths": ({"Upload-Concat": "final;a b"}, 400),
    "unknown Upload-Concat": ({"Upload-Length": "5", "Upload-Concat": "some"}, 400),
    "unknown checksum algorithm": ({"Upload-Length": "5", "Upload-Checksum": "md4 AAAA"}, 400),
    "checksum too short": ({"Upload-Length": "5", "Upload-Checksum": "sha1 AAAA"}, 400),
    "unsupported version": ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412),
    "wrong content type": ({"Upload-Length": "5", "Content-Type": "text/plain"}, 415),
}


@pytest.mark.parametrize(("headers", "status"), INVALID_CREATIONS.values(), ids=INVALID_CREATIONS)
def test_an_invalid_creation_is_refused_without_a_job(
    product: Product, tus: Tus, headers: Json, status: int
) -> None:
    wanted = {"Upload-Metadata": metadata(token_id=tus.token_id), **headers}
    body = b"hello" if "Content-Type" in headers else b""
    answer = tus.request("POST", "/uploads", wanted, body)
    assert answer.status_code == status, answer.text
    assert error_info(answer)["reason"]
    if status == 412:
        assert answer.headers["tus-version"] == "1.0.0"
    assert product.jobs_of(tus.token_id) == []


INVALID_WRITES: dict[str, tuple[Json, int]] = {
    "missing offset": ({"Upload-Offset": ""}, 400),
    "malformed offset": ({"Upload-Offset": "1e3"}, 400),
    "wrong content type": ({"Content-Type": "audio/wav"}, 415),
    "missing version": ({"Tus-Resumable": ""}, 412),
    "more bytes than the length": ({"Upload-Length": "7"}, 400),
}


@pytest.mark.parametrize(("headers", "status"), INVALID_WRITES.values(), ids=INVALID_WRITES)
def test_an_invalid_write_is_refused_and_keeps_nothing(
    tus: Tus, headers: Json, status: int
) -> None:
    location = tus.create_upload(len(CONTENT))
    answer = tus.patch(location, 0, CONTENT, **headers)
    assert answer.status_code == status, answer.text
    assert tus.head(location).headers["upload-offset"] == "0"


@pytest.mark.parametrize("surplus", [1, 3 * MIB])
def test_bytes_beyond_the_length_are_refused(
    product: Product, uploader: Uploader, tus: Tus, surplus: int
) -> None:
    location = tus.create_upload(len(CONTENT))
    assert tus.patch(location, 0, CONTENT + bytes(surplus)).status_code == 400
    assert tus.offset(location) == 0
    assert tus.patch(location, 0, CONTENT).status_code == 204
    assert_analysed(product, upload_of(uploader, location), CONTENT)


def test_an_invalid_recording_fails_its_upload(product: Product, tus: Tus) -> None:
    answer = tus.create(20_000)
    location = answer.headers["location"]
    assert tus.patch(location, 0, b"no audio" * 2500).status_code == 415
    assert tus.head(location).status_code == 410
    assert product.final_result(answer.headers["x-job-id"])["failure_reason"] == "UNSUPPORTED_AUDIO"
    assert product.recording_keys(tus.token_id) == []


UNKNOWN = ["/uploads/none", f"/uploads/{uuid4()}", f"/uploads/{'x' * 20_000}"]


@pytest.mark.parametrize("path", UNKNOWN, ids=["invalid id", "unknown id", "long id"])
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_requests_for_an_unknown_upload_are_refused(tus: Tus, method: str, path: str) -> None:
    answer = tus.request(
        method, path, {"Upload-Offset": "0", **BYTES} if method == "PATCH" else None
    )
    assert answer.status_code == 404
    assert (answer.content == b"") == (method == "HEAD")


def test_pages_of_other_origins_may_upload(gateway: httpx.Client) -> None:
    wanted = "tus-resumable,upload-offset,upload-checksum,content-type"
    answer = gateway.options(
        "/uploads/some",
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": wanted,
        },
    )
    assert answer.status_code == 200
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert set(wanted.split(",")) <= set(allowed)


@pytest.mark.parametrize("chunk_size", [5 * MIB + 1, MIB])
@pytest.mark.parametrize("checksum", [False, True], ids=["without checksums", "with checksums"])
def test_tuspy_uploads_and_resumes(
    product: Product, uploader: Uploader, tus: Tus, chunk_size: int, checksum: bool
) -> None:
    client = TusClient(str(tus.gateway.base_url.join("/uploads")))
    described = {"token_id": str(tus.token_id), "filename": "take.wav", "filetype": "audio/wav"}
    stream = io.BytesIO(LONG)
    first = client.uploader(
        file_stream=stream, chunk_size=chunk_size, metadata=described, upload_checksum=checksum
    )
    first.upload_chunk()  # type: ignore[no-untyped-call]
    # As another process would: it has only the URL.
    second = client.uploader(
        file_stream=stream, chunk_size=chunk_size, url=first.url, upload_checksum=checksum
    )
    assert second.offset == chunk_size
    second.upload()
    assert_analysed(product, upload_of(uploader, str(second.url)), LONG)
