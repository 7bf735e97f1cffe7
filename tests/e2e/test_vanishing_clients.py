"""A client that disappears during a one-shot upload leaves only a failed job."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import grpc
import pytest

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import AUDIO, Product
from tests.e2e.waiting import PATIENCE_SECONDS

WAV = (AUDIO / "ref_0890.wav").read_bytes()
LONG = WAV + bytes(10 * 1024 * 1024)
"""More than one part, so that a multipart upload is open when the client disappears."""

PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def assert_only_a_failed_job_remains(
    product: Product, token_id: int, analysis_server: AnalysisServer
) -> None:
    (job_id,) = product.jobs_of(token_id)
    result = product.final_result(job_id)
    assert (result["status"], result["failure_reason"]) == ("failed", "INCOMPLETE_UPLOAD")
    assert product.recording_keys(token_id) == []
    assert not analysis_server.was_dispatched(job_id)


def job_of_upload(product: Product, token_id: int) -> str:
    """The job of a running upload, as soon as it shows progress."""
    while not (jobs := product.jobs_of(token_id)):
        pass
    next(state for state in product.states(jobs[0]) if state["progress"] >= 40)
    return jobs[0]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("content", [WAV, LONG], ids=["one part", "several parts"])
@pytest.mark.parametrize(
    ("header", "framed"),
    [
        pytest.param(b"Content-Length: 99999999", lambda data: data, id="Content-Length"),
        pytest.param(
            b"Transfer-Encoding: chunked",
            lambda data: b"%x\r\n%b\r\n" % (len(data), data),
            id="chunked",
        ),
    ],
)
def test_an_http_client_that_vanishes_leaves_only_a_failed_job(
    product: Product,
    held_token: int,
    analysis_server: AnalysisServer,
    header: bytes,
    framed: Callable[[bytes], bytes],
    content: bytes,
    reset: bool,
) -> None:
    address = urlsplit(product.stack.gateway_url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(
            b"POST /tokens/%d/upload-audio HTTP/1.1\r\nHost: sori\r\n" % held_token
            + b"Content-Type: multipart/form-data; boundary=b\r\n%b\r\n\r\n" % header
            + framed(PART + content)
        )
        job_of_upload(product, held_token)
        if reset:
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert_only_a_failed_job_remains(product, held_token, analysis_server)


@pytest.mark.parametrize("content", [WAV, LONG], ids=["one part", "several parts"])
def test_a_grpc_client_that_vanishes_leaves_only_a_failed_job(
    product: Product, held_token: int, analysis_server: AnalysisServer, content: bytes
) -> None:
    gone = threading.Event()

    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token))
        for start in range(0, len(content), 1024 * 1024):
            yield pb.UploadAudioRequest(chunk=content[start : start + 1024 * 1024])
        gone.wait()

    address = product.stack.gateway_url.removeprefix("http://")
    with grpc.insecure_channel(address) as channel:
        call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(requests())
        job_of_upload(product, held_token)
    gone.set()
    assert not call.running()
    assert_only_a_failed_job_remains(product, held_token, analysis_server)


def test_a_watcher_sees_that_an_interrupted_upload_failed(
    product: Product, held_token: int, channel: grpc.Channel
) -> None:
    is_watched = threading.Event()

    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token))
        yield pb.UploadAudioRequest(chunk=WAV)
        is_watched.wait(PATIENCE_SECONDS)

    call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(requests())
    job_id = str(dict(call.initial_metadata())["x-job-id"])
    request = analysis_pb2.WatchAnalysisRequest(job_id=job_id)
    states = []
    for state in analysis_pb2_grpc.AnalysisServiceStub(channel).WatchAnalysis(request):
        states.append(state)
        is_watched.set()
    assert states[-1].failure_reason == "INCOMPLETE_UPLOAD"


def test_a_take_that_is_interrupted_at_once_has_no_job(
    product: Product, held_token: int, channel: grpc.Channel
) -> None:
    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token))
        yield pb.UploadAudioRequest(chunk=WAV)

    with pytest.raises(grpc.RpcError) as caught:
        upload_pb2_grpc.UploadServiceStub(channel).UploadAudio(requests())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert product.jobs_of(held_token) == []
    assert product.recording_keys(held_token) == []
