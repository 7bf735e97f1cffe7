"""Resumable uploads by gRPC: an upload continues at its last committed byte."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sori.upload.v1 import upload_pb2 as pb
from tests.e2e.product import AUDIO, Product
from tests.e2e.uploading import MIB, Uploader, assert_analysed, messages, wav
from tests.e2e.waiting import eventually

CONTENT = (AUDIO / "ref_0890.wav").read_bytes()
LONG = wav(12 * MIB + 345)


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The status and the reason of the error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    status.details[0].Unpack(info)
    return error.code(), info.reason


@pytest.mark.parametrize("content", [CONTENT, LONG], ids=["one part", "several parts"])
def test_a_file_is_uploaded_in_one_write(
    product: Product, held_token: int, uploader: Uploader, content: bytes
) -> None:
    upload = uploader.create(held_token, file_name="a.wav", size=len(content))
    assert (upload.state, upload.committed_size) == (pb.UPLOAD_STATE_RECEIVING, 0)
    assert upload.token_id == held_token
    upload = uploader.write(upload.upload_id, 0, content, finish=True)
    assert_analysed(product, upload, content)


@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param([1000], id="in the head"),
        pytest.param([100, 5000, 70_000], id="around the head"),
        pytest.param([5 * MIB], id="at the end of a part"),
        pytest.param([5 * MIB - 1, 5 * MIB + 1], id="around the end of a part"),
        pytest.param([2 * MIB, 4 * MIB, 6 * MIB, 11 * MIB], id="within parts"),
        pytest.param([len(LONG)], id="at the end"),
    ],
)
def test_a_file_is_uploaded_in_several_writes(
    product: Product, held_token: int, uploader: Uploader, cuts: list[int]
) -> None:
    upload = uploader.create(held_token, sha256=hashlib.sha256(LONG).digest())
    at = 0
    for cut in cuts:
        upload = uploader.write(upload.upload_id, at, LONG[at:cut])
        assert upload.committed_size == cut
        assert uploader.get(upload.upload_id) == upload
        at = cut
    upload = uploader.write(upload.upload_id, at, LONG[at:], finish=True)
    assert_analysed(product, upload, LONG)


def test_messages_without_bytes_are_ignored(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    empty = pb.WriteUploadRequest()
    first, *others = messages(upload_id, 0, LONG, finish=True)
    sent = [pb.WriteUploadRequest(upload_id=upload_id), empty, first, empty, *others]
    assert_analysed(product, uploader.stub.WriteUpload(iter(sent), timeout=60), LONG)


def test_bytes_sent_again_are_skipped(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    uploader.write(upload_id, 0, LONG[: 7 * MIB])
    assert_analysed(product, uploader.write(upload_id, 0, LONG, finish=True), LONG)


def test_a_gap_is_refused_and_the_upload_continues(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    uploader.write(upload_id, 0, CONTENT[:1000])
    assert refusal(lambda: uploader.write(upload_id, 1001, CONTENT[1001:])) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "UPLOAD_OFFSET_AHEAD",
    )
    assert_analysed(product, uploader.write(upload_id, 1000, CONTENT[1000:], finish=True), CONTENT)


def test_finishing_a_complete_upload_again_changes_nothing(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    first = uploader.write(upload_id, 0, CONTENT, finish=True)
    again = uploader.write(upload_id, len(CONTENT), b"", finish=True)
    assert again == first
    assert_analysed(product, again, CONTENT)


def test_the_job_shows_progress_from_the_creation_of_its_upload(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    assert product.result(upload.job_id)["progress"] == 10
    uploader.write(upload.upload_id, 0, CONTENT[:1000])
    assert product.result(upload.job_id)["progress"] == 40
    uploader.write(upload.upload_id, 1000, CONTENT[1000:], finish=True)
    assert product.result(upload.job_id)["progress"] >= 70


def test_a_repeated_request_id_returns_the_same_upload(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    request_id = str(uuid4())
    first = uploader.create(held_token, request_id=request_id, size=1000)
    assert uploader.create(held_token, request_id=request_id, size=1000) == first
    assert product.jobs_of(held_token) == [first.job_id]
    assert refusal(lambda: uploader.create(held_token, request_id=request_id, size=1001)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
    )


class SlowWrite:
    """A write whose messages the test sends one by one."""

    def __init__(self, uploader: Uploader) -> None:
        self._messages: queue.Queue[pb.WriteUploadRequest | None] = queue.Queue()
        self.call = uploader.stub.WriteUpload.future(iter(self._next, None), timeout=60)

    def _next(self) -> pb.WriteUploadRequest | None:
        return self._messages.get()

    def send(self, message: pb.WriteUploadRequest | None) -> None:
        """Send a message; None ends the stream."""
        self._messages.put(message)


def wait_until_committed(uploader: Uploader, upload_id: str, size: int) -> None:
    """Wait until at least `size` bytes are durable."""
    eventually(lambda: uploader.get(upload_id).committed_size >= size)


def test_a_newer_writer_supersedes_an_older_one(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    older = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[: 6 * MIB], finish=False):
        older.send(message)
    wait_until_committed(uploader, upload_id, 5 * MIB)
    upload = uploader.write(upload_id, 5 * MIB, LONG[5 * MIB :], finish=True)
    older.send(pb.WriteUploadRequest(chunk=b"too late", finish_write=True))
    assert refusal(older.call.result)[0] in (
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert_analysed(product, upload, LONG)


def test_a_superseded_writer_receives_an_error(held_token: int, uploader: Uploader) -> None:
    upload_id = uploader.create(held_token).upload_id
    older = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[: 6 * MIB], finish=False):
        older.send(message)
    wait_until_committed(uploader, upload_id, 5 * MIB)
    uploader.write(upload_id, 5 * MIB, LONG[5 * MIB : 6 * MIB])
    older.send(None)
    assert refusal(older.call.result) == (grpc.StatusCode.ABORTED, "UPLOAD_SUPERSEDED")
    assert uploader.get(upload_id).committed_size == 6 * MIB


@pytest.mark.parametrize("size", [1000, 3 * MIB, 8 * MIB])
def test_bytes_of_a_vanished_client_are_kept(
    product: Product, held_token: int, uploader: Uploader, size: int
) -> None:
    upload_id = uploader.create(held_token).upload_id
    write = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[:size], finish=False):
        write.send(message)
    # The committed size does not change before a part is full; the job's progress does.
    job_id = uploader.get(upload_id).job_id
    next(state for state in product.states(job_id) if state["progress"] >= 40)
    if size > 5 * MIB:
        wait_until_committed(uploader, upload_id, 5 * MIB)
    write.call.cancel()
    at = uploader.get(upload_id).committed_size
    assert at <= size
    assert_analysed(product, uploader.write(upload_id, at, LONG[at:], finish=True), LONG)


def test_a_cancelled_upload_leaves_nothing_in_s3(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    uploader.write(upload.upload_id, 0, LONG[: 8 * MIB])
    cancelled = uploader.cancel(upload.upload_id)
    assert cancelled.state == pb.UPLOAD_STATE_CANCELLED
    assert uploader.cancel(upload.upload_id).state == pb.UPLOAD_STATE_CANCELLED
    assert product.recording_keys(held_token) == []
    assert product.object_keys(f"tails/{upload.upload_id}/") == []
    assert product.final_result(upload.job_id)["failure_reason"] == "UPLOAD_CANCELLED"
    assert refusal(lambda: uploader.write(upload.upload_id, 8 * MIB, b"more")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPLOAD_ENDED",
    )


def test_a_complete_upload_cannot_be_cancelled(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    upload = uploader.write(upload.upload_id, 0, CONTENT, finish=True)
    assert refusal(lambda: uploader.cancel(upload.upload_id)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPLOAD_ENDED",
    )
    assert_analysed(product, uploader.get(upload.upload_id), CONTENT)


INVALID_RECORDINGS = {
    "not audio": (b"no audio at all" * 1000, "UNSUPPORTED_AUDIO"),
    "too large": (wav(25 * MIB), "RECORDING_TOO_LARGE"),
    "too long": (wav(40_000, byte_rate=2), "RECORDING_TOO_LONG"),
}


@pytest.mark.parametrize(("content", "reason"), INVALID_RECORDINGS.values(), ids=INVALID_RECORDINGS)
def test_an_invalid_recording_fails_its_upload(
    product: Product, held_token: int, uploader: Uploader, content: bytes, reason: str
) -> None:
    upload = uploader.create(held_token)
    refused = refusal(lambda: uploader.write(upload.upload_id, 0, content, finish=True))
    assert refused[1] == reason
    upload = uploader.get(upload.upload_id)
    assert (upload.state, upload.failure_reason) == (pb.UPLOAD_STATE_FAILED, reason)
    assert product.final_result(upload.job_id)["failure_reason"] == reason
    assert product.recording_keys(held_token) == []


def test_a_file_that_is_not_audio_is_refused_before_all_bytes_arrive(
    held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token, size=20 * MIB).upload_id
    write = SlowWrite(uploader)
    write.send(messages(upload_id, 0, b"x" * 5000, finish=False)[0])
    assert refusal(write.call.result)[1] == "UNSUPPORTED_AUDIO"


def test_a_wrong_sha256_fails_the_upload(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token, sha256=hashlib.sha256(LONG).digest())
    uploader.write(upload.upload_id, 0, LONG[: 6 * MIB])
    flipped = LONG[6 * MIB : -1] + bytes([LONG[-1] ^ 1])
    refused = refusal(lambda: uploader.write(upload.upload_id, 6 * MIB, flipped, finish=True))
    assert refused[1] == "CHECKSUM_MISMATCH"
    assert product.recording_keys(held_token) == []
    assert uploader.get(upload.upload_id).state == pb.UPLOAD_STATE_FAILED


def test_a_finish_before_the_declared_size_is_refused_and_the_upload_continues(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token, size=len(CONTENT)).upload_id
    early = refusal(lambda: uploader.write(upload_id, 0, CONTENT[:1000], finish=True))
    assert early[1] == "SIZE_MISMATCH"
    assert uploader.get(upload_id).committed_size == 1000
    assert_analysed(product, uploader.write(upload_id, 1000, CONTENT[1000:], finish=True), CONTENT)


def test_bytes_beyond_the_declared_size_are_refused(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token, size=len(CONTENT)).upload_id
    late = refusal(lambda: uploader.write(upload_id, 0, CONTENT + b"more", finish=True))
    assert late[1] == "SIZE_MISMATCH"
    assert_analysed(product, uploader.write(upload_id, 0, CONTENT, finish=True), CONTENT)


INVALID_CREATIONS: dict[str, tuple[dict[str, object], str]] = {
    "unknown token": ({"token_id": 999_999_999}, "TOKEN_NOT_FOUND"),
    "no token": ({"token_id": 0}, "INVALID_FIELD"),
    "size 0": ({"size": 0}, "INVALID_FIELD"),
    "digest too short": ({"sha256": b"short"}, "INVALID_FIELD"),
    "too large": ({"size": 25 * MIB}, "RECORDING_TOO_LARGE"),
}


@pytest.mark.parametrize(("fields", "reason"), INVALID_CREATIONS.values(), ids=INVALID_CREATIONS)
def test_an_invalid_creation_is_refused_without_a_job(
    product: Product, held_token: int, uploader: Uploader, fields: dict[str, object], reason: str
) -> None:
    wanted = {"token_id": held_token, **fields}
    assert refusal(lambda: uploader.create(**wanted))[1] == reason  # type: ignore[arg-type]
    assert product.jobs_of(held_token) == []


def test_calls_for_an_unknown_upload_are_refused(uploader: Uploader) -> None:
    for call in (uploader.get, uploader.cancel, lambda each: uploader.write(each, 0, b"x")):
        assert refusal(lambda call=call: call(str(uuid4()))) == (  # type: ignore[misc]
            grpc.StatusCode.NOT_FOUND,
            "UPLOAD_NOT_FOUND",
        )
        assert refusal(lambda call=call: call("no id"))[1] == "INVALID_FIELD"  # type: ignore[misc]


def test_a_write_without_a_message_is_refused(uploader: Uploader) -> None:
    no_messages: Iterator[pb.WriteUploadRequest] = iter(())
    assert refusal(lambda: uploader.stub.WriteUpload(no_messages))[1] == "INVALID_FIELD"
