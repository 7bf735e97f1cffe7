"""Analyses that are cancelled before the analysis server accepts them leave nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import AUDIO, Product

WAV = (AUDIO / "ref_0890.wav").read_bytes()
LONG = WAV + bytes(10 * 1024 * 1024)
"""More than one part, so that a multipart upload is in progress when the job is cancelled."""

MIB = 1024 * 1024


def cancel(product: Product, job_id: str) -> None:
    answer = product.gateway.post(f"/analyses/{job_id}:cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def reason(call: grpc.Call) -> str:
    """The reason in the error of a call."""
    status = rpc_status.from_call(call)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def delete(product: Product, job_id: str) -> None:
    assert product.gateway.delete(f"/analyses/{job_id}").status_code == 200


@pytest.mark.parametrize("end", [cancel, delete])
@pytest.mark.parametrize("content", [WAV, LONG], ids=["one part", "several parts"])
def test_an_upload_of_an_ended_job_is_refused_and_leaves_no_object(
    product: Product,
    held_token: int,
    analysis_server: AnalysisServer,
    channel: grpc.Channel,
    content: bytes,
    end: Callable[[Product, str], None],
) -> None:
    ended = threading.Event()

    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token))
        for start in range(0, len(content), MIB):
            yield pb.UploadAudioRequest(chunk=content[start : start + MIB])
        ended.wait()
        yield pb.UploadAudioRequest(chunk=b"remaining")
        yield pb.UploadAudioRequest(finish=pb.UploadAudioFinish())

    call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(requests())
    try:
        job_id = str(dict(call.initial_metadata())["x-job-id"])
        next(state for state in product.states(job_id) if state["progress"] >= 40)
        end(product, job_id)
    finally:
        ended.set()
    assert (call.code(), reason(call)) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED")
    assert product.recording_keys(held_token) == []
    assert not analysis_server.was_dispatched(job_id)


def test_a_job_that_is_cancelled_during_its_dispatch_stays_cancelled(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    resumed = analysis_server.stall(held_token)
    try:
        job_id = product.upload_sample(held_token)
        analysis_server.job(job_id)
        assert product.analysis(job_id)["state"] == "ANALYSIS_STATE_QUEUED"
        cancel(product, job_id)
    finally:
        resumed.set()
    late = analysis_server.report(job_id, {"analysis_results": {"score": 1}})
    assert late.json()["effect"] == "REPORT_EFFECT_IGNORED"
    assert product.analysis(job_id)["status"] == "cancelled"
