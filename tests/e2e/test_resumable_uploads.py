"""An upload goes on where it stopped: what a gRPC client relies on."""

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
    """The status and the reason that a call is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    status.details[0].Unpack(info)
    return error.code(), info.reason


@pytest.mark.parametrize("content", [CONTENT, LONG], ids=["one part", "several parts"])
def test_all_in_one_write(
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
def test_over_several_writes(
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


def test_messages_without_bytes_mean_nothing(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    empty = pb.WriteUploadRequest()
    first, *others = messages(upload_id, 0, LONG, finish=True)
    sent = [pb.WriteUploadRequest(upload_id=upload_id), empty, first, empty, *others]
    assert_analysed(product, uploader.stub.WriteUpload(iter(sent), timeout=60), LONG)


def test_bytes_sent_again_are_skipped_over(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    uploader.write(upload_id, 0, LONG[: 7 * MIB])
    assert_analysed(product, uploader.write(upload_id, 0, LONG, finish=True), LONG)


def test_a_gap_is_refused_and_harms_nothing(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token).upload_id
    uploader.write(upload_id, 0, CONTENT[:1000])
    assert refusal(lambda: uploader.write(upload_id, 1001, CONTENT[1001:])) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "UPLOAD_OFFSET_AHEAD",
    )
    assert_analysed(product, uploader.write(upload_id, 1000, CONTENT[1000:], finish=True), CONTENT)


def test_the_end_may_be_stated_again(product: Product, held_token: int, uploader: Uploader) -> None:
    upload_id = uploader.create(held_token).upload_id
    first = uploader.write(upload_id, 0, CONTENT, finish=True)
    again = uploader.write(upload_id, len(CONTENT), b"", finish=True)
    assert again == first
    assert_analysed(product, again, CONTENT)


def test_the_job_can_be_watched_from_the_beginning(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    assert product.result(upload.job_id)["progress"] == 10
    uploader.write(upload.upload_id, 0, CONTENT[:1000])
    assert product.result(upload.job_id)["progress"] == 40
    uploader.write(upload.upload_id, 1000, CONTENT[1000:], finish=True)
    assert product.result(upload.job_id)["progress"] >= 70


def test_the_same_request_has_one_upload(
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
    """A write whose messages are sent one by one."""

    def __init__(self, uploader: Uploader) -> None:
        self._messages: queue.Queue[pb.WriteUploadRequest | None] = queue.Queue()
        self.call = uploader.stub.WriteUpload.future(iter(self._next, None), timeout=60)

    def _next(self) -> pb.WriteUploadRequest | None:
        return self._messages.get()

    def send(self, message: pb.WriteUploadRequest | None) -> None:
        """The next message; None for the end of the stream."""
        self._messages.put(message)


def committed(uploader: Uploader, upload_id: str, size: int) -> None:
    """Wait until so many bytes are durable."""
    eventually(lambda: uploader.get(upload_id).committed_size >= size)


def test_a_newer_writer_takes_over(product: Product, held_token: int, uploader: Uploader) -> None:
    upload_id = uploader.create(held_token).upload_id
    older = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[: 6 * MIB], finish=False):
        older.send(message)
    committed(uploader, upload_id, 5 * MIB)
    upload = uploader.write(upload_id, 5 * MIB, LONG[5 * MIB :], finish=True)
    older.send(pb.WriteUploadRequest(chunk=b"too late", finish_write=True))
    assert refusal(older.call.result)[0] in (
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert_analysed(product, upload, LONG)


def test_a_writer_that_was_superseded_is_told(held_token: int, uploader: Uploader) -> None:
    upload_id = uploader.create(held_token).upload_id
    older = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[: 6 * MIB], finish=False):
        older.send(message)
    committed(uploader, upload_id, 5 * MIB)
    uploader.write(upload_id, 5 * MIB, LONG[5 * MIB : 6 * MIB])
    older.send(None)
    assert refusal(older.call.result) == (grpc.StatusCode.ABORTED, "UPLOAD_SUPERSEDED")
    assert uploader.get(upload_id).committed_size == 6 * MIB


@pytest.mark.parametrize("size", [1000, 3 * MIB, 8 * MIB])
def test_what_a_vanished_client_sent_is_kept(
    product: Product, held_token: int, uploader: Uploader, size: int
) -> None:
    upload_id = uploader.create(held_token).upload_id
    write = SlowWrite(uploader)
    for message in messages(upload_id, 0, LONG[:size], finish=False):
        write.send(message)
    # Nothing is told of bytes below a part before the stream ends; the job tells that it began.
    job_id = uploader.get(upload_id).job_id
    next(state for state in product.states(job_id) if state["progress"] >= 40)
    if size > 5 * MIB:
        committed(uploader, upload_id, 5 * MIB)
    write.call.cancel()
    at = uploader.get(upload_id).committed_size
    assert at <= size
    assert_analysed(product, uploader.write(upload_id, at, LONG[at:], finish=True), LONG)


def test_a_cancelled_upload_leaves_nothing(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    uploader.write(upload.upload_id, 0, LONG[: 8 * MIB])
    cancelled = uploader.cancel(upload.upload_id)
    assert cancelled.state == pb.UPLOAD_STATE_CANCELLED
    assert uploader.cancel(upload.upload_id).state == pb.UPLOAD_STATE_CANCELLED
    assert product.stored(held_token) == []
    assert product.objects(f"tails/{upload.upload_id}/") == []
    assert product.ended(upload.job_id)["failure_reason"] == "UPLOAD_CANCELLED"
    assert refusal(lambda: uploader.write(upload.upload_id, 8 * MIB, b"more")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPLOAD_ENDED",
    )


def test_a_finished_upload_is_not_cancelled(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token)
    upload = uploader.write(upload.upload_id, 0, CONTENT, finish=True)
    assert refusal(lambda: uploader.cancel(upload.upload_id)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPLOAD_ENDED",
    )
    assert_analysed(product, uploader.get(upload.upload_id), CONTENT)


REFUSED = {
    "no audio": (b"no audio at all" * 1000, "UNSUPPORTED_AUDIO"),
    "too large": (wav(25 * MIB), "RECORDING_TOO_LARGE"),
    "too long": (wav(40_000, byte_rate=2), "RECORDING_TOO_LONG"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_recording_that_is_refused_ends_its_upload(
    product: Product, held_token: int, uploader: Uploader, content: bytes, reason: str
) -> None:
    upload = uploader.create(held_token)
    write = refusal(lambda: uploader.write(upload.upload_id, 0, content, finish=True))
    assert write[1] == reason
    upload = uploader.get(upload.upload_id)
    assert (upload.state, upload.failure_reason) == (pb.UPLOAD_STATE_FAILED, reason)
    assert product.ended(upload.job_id)["failure_reason"] == reason
    assert product.stored(held_token) == []


def test_no_audio_is_refused_before_it_is_all_here(held_token: int, uploader: Uploader) -> None:
    upload_id = uploader.create(held_token, size=20 * MIB).upload_id
    write = SlowWrite(uploader)
    write.send(messages(upload_id, 0, b"x" * 5000, finish=False)[0])
    assert refusal(write.call.result)[1] == "UNSUPPORTED_AUDIO"


def test_a_wrong_digest_ends_the_upload(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload = uploader.create(held_token, sha256=hashlib.sha256(LONG).digest())
    uploader.write(upload.upload_id, 0, LONG[: 6 * MIB])
    flipped = LONG[6 * MIB : -1] + bytes([LONG[-1] ^ 1])
    write = refusal(lambda: uploader.write(upload.upload_id, 6 * MIB, flipped, finish=True))
    assert write[1] == "CHECKSUM_MISMATCH"
    assert product.stored(held_token) == []
    assert uploader.get(upload.upload_id).state == pb.UPLOAD_STATE_FAILED


def test_an_end_before_the_declared_size_ends_nothing(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token, size=len(CONTENT)).upload_id
    early = refusal(lambda: uploader.write(upload_id, 0, CONTENT[:1000], finish=True))
    assert early[1] == "SIZE_MISMATCH"
    assert uploader.get(upload_id).committed_size == 1000
    assert_analysed(product, uploader.write(upload_id, 1000, CONTENT[1000:], finish=True), CONTENT)


def test_bytes_after_the_declared_size_are_refused(
    product: Product, held_token: int, uploader: Uploader
) -> None:
    upload_id = uploader.create(held_token, size=len(CONTENT)).upload_id
    late = refusal(lambda: uploader.write(upload_id, 0, CONTENT + b"more", finish=True))
    assert late[1] == "SIZE_MISMATCH"
    assert_analysed(product, uploader.write(upload_id, 0, CONTENT, finish=True), CONTENT)


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no such token": ({"token_id": 999_999_999}, "TOKEN_NOT_FOUND"),
    "no token": ({"token_id": 0}, "INVALID_FIELD"),
    "size 0": ({"size": 0}, "INVALID_FIELD"),
    "digest too short": ({"sha256": b"short"}, "INVALID_FIELD"),
    "too large": ({"size": 25 * MIB}, "RECORDING_TOO_LARGE"),
}


@pytest.mark.parametrize(("fields", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_be_begun_is_refused(
    product: Product, held_token: int, uploader: Uploader, fields: dict[str, object], reason: str
) -> None:
    wanted = {"token_id": held_token, **fields}
    assert refusal(lambda: uploader.create(**wanted))[1] == reason  # type: ignore[arg-type]
    assert product.jobs_of(held_token) == []


def test_an_upload_nobody_knows(uploader: Uploader) -> None:
    for call in (uploader.get, uploader.cancel, lambda each: uploader.write(each, 0, b"x")):
        assert refusal(lambda call=call: call(str(uuid4()))) == (  # type: ignore[misc]
            grpc.StatusCode.NOT_FOUND,
            "UPLOAD_NOT_FOUND",
        )
        assert refusal(lambda call=call: call("no id"))[1] == "INVALID_FIELD"  # type: ignore[misc]


def test_a_write_without_a_message(uploader: Uploader) -> None:
    nothing: Iterator[pb.WriteUploadRequest] = iter(())
    assert refusal(lambda: uploader.stub.WriteUpload(nothing))[1] == "INVALID_FIELD"
