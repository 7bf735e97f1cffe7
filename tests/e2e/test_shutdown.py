"""A service that shuts down finishes running calls, loses nothing and exits with 0."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import AUDIO, Product


@pytest.fixture(autouse=True)
def ready_after(product: Product) -> Iterator[None]:
    yield
    for name in ("upload", "analysis", "gateway"):
        product.stack.wait_ready(name)


def assert_exited_with_0(product: Product, name: str) -> None:
    log = product.stack.logs("supervisord")
    assert f"exited: {name} (exit status 0" in log


def test_watchers_receive_unavailable_and_can_reconnect(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    request = analysis_pb2.WatchAnalysisRequest(job_id=job_id)
    with grpc.insecure_channel(product.stack.address("analysis")) as channel:
        stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
        states = stub.WatchAnalysis(request)
        next(states)
        product.stack.signal("analysis", "TERM")
        with pytest.raises(grpc.RpcError) as error:
            list(states)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    product.stack.wait_ready("analysis")
    assert_exited_with_0(product, "analysis")
    analysis_server.report(job_id, {"analysis_results": {"score": 1}})
    assert list(product.states(job_id))[-1]["status"] == "completed"


def test_a_running_upload_completes_before_the_exit(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    stopping = threading.Event()

    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token))
        yield pb.UploadAudioRequest(chunk=(AUDIO / "ref_0890.wav").read_bytes())
        stopping.wait()
        yield pb.UploadAudioRequest(finish=pb.UploadAudioFinish())

    with grpc.insecure_channel(product.stack.address("upload")) as channel:
        call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(requests())
        job_id = str(dict(call.initial_metadata())["x-job-id"])
        product.stack.signal("upload", "TERM")
        stopping.set()
        assert call.result().job_id == job_id
    analysis_server.job(job_id)
    product.stack.wait_ready("upload")
    assert_exited_with_0(product, "upload")
