"""Request ids: an upload can be repeated safely with the same Idempotency-Key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import grpc
import pytest

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.product import AUDIO, Product, error_info
from tests.e2e.waiting import PATIENCE_SECONDS

CONTENT = (AUDIO / "ref_0890.wav").read_bytes()


def stream(token_id: int, request_id: str) -> Iterator[pb.UploadAudioRequest]:
    metadata = pb.UploadAudioMetadata(token_id=token_id, request_id=request_id)
    yield pb.UploadAudioRequest(metadata=metadata)
    yield pb.UploadAudioRequest(chunk=CONTENT)
    yield pb.UploadAudioRequest(finish=pb.UploadAudioFinish())


def test_the_same_recording_with_the_same_key_returns_the_first_job(
    product: Product, held_token: int
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = product.upload(held_token, "ref_0890.wav", key)
    again = product.upload(held_token, "ref_0890.wav", key)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert product.jobs_of(held_token) == [first.json()["job_id"]]
    assert len(product.recording_keys(held_token)) == 1


def test_a_quoted_key_is_the_same_key(product: Product, held_token: int) -> None:
    key = str(uuid4())
    first = product.upload(held_token, "ref_0890.wav", {"Idempotency-Key": key})
    again = product.upload(held_token, "ref_0890.wav", {"Idempotency-Key": f'"{key}"'})
    assert again.json() == first.json()


def test_header_and_field_name_the_same_request(
    product: Product, held_token: int, channel: grpc.Channel
) -> None:
    key = str(uuid4())
    first = product.upload(held_token, "ref_0890.wav", {"Idempotency-Key": key})
    answer = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio(stream(held_token, key))
    assert answer.job_id == first.json()["job_id"]


def test_another_recording_with_the_same_key_is_refused(product: Product, held_token: int) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    product.upload(held_token, "ref_0890.wav", key)
    answer = product.upload(held_token, "take_0890_close.webm", key)
    assert answer.status_code == 422
    assert error_info(answer)["reason"] == "REQUEST_ID_REUSED"


def test_another_token_with_the_same_key_is_refused(product: Product, held_token: int) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    product.upload(held_token, "ref_0890.wav", key)
    answer = product.upload(1, "ref_0890.wav", key)
    assert answer.status_code == 422
    assert error_info(answer)["reason"] == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("key", ["x" * 129, "a b", "../../etc"])
def test_an_invalid_key_is_a_clear_error(product: Product, held_token: int, key: str) -> None:
    answer = product.upload(held_token, "ref_0890.wav", {"Idempotency-Key": key})
    assert answer.status_code == 400
    assert error_info(answer)["metadata"]["field"] == "request_id"


def test_a_failed_upload_can_be_repeated_with_its_key(product: Product, held_token: int) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    assert product.upload(held_token, "notaudio.wav", key).status_code == 415
    assert product.upload(held_token, "ref_0890.wav", key).status_code == 200


def test_a_repeat_supersedes_an_upload_under_way(
    product: Product, held_token: int, channel: grpc.Channel
) -> None:
    key, may_continue = str(uuid4()), threading.Event()

    def stalled() -> Iterator[pb.UploadAudioRequest]:
        messages = stream(held_token, key)
        yield next(messages)
        may_continue.wait(PATIENCE_SECONDS)
        yield from messages

    call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(stalled())
    dict(call.initial_metadata())
    answer = product.upload(held_token, "ref_0890.wav", {"Idempotency-Key": key})
    assert answer.status_code == 200
    may_continue.set()
    assert call.code() is grpc.StatusCode.ABORTED
    assert len(product.recording_keys(held_token)) == 1
