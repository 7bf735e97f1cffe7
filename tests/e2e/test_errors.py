"""Mistakes of callers get a fitting status, a reason and advice."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from uuid import uuid4

import grpc
import httpx
import pytest

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.conftest import MAX_RECORDING_BYTES
from tests.e2e.product import AUDIO, Product, error_info

WAV = (AUDIO / "ref_0890.wav").read_bytes()
UNKNOWN_JOB = "01a20810-e3b2-705b-90e5-b52e27a5d578"


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("take.wav", WAV)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/tokens/2000000000", 404, "TOKEN_NOT_FOUND"),
        ("GET", "/tokens/abc", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/0", 400, "INVALID_FIELD"),
        ("GET", "/tokens/99999999999", 400, "REQUEST_MALFORMED"),
        ("GET", "/actors/2000000000", 404, "ACTOR_NOT_FOUND"),
        ("GET", "/scripts/2000000000", 404, "SCRIPT_NOT_FOUND"),
        ("GET", f"/tokens/analysis-result/{UNKNOWN_JOB}", 404, "JOB_NOT_FOUND"),
        ("GET", "/tokens/analysis-result/not-a-uuid", 400, "INVALID_FIELD"),
        ("GET", f"/tokens/analysis-progress/{UNKNOWN_JOB}", 404, "JOB_NOT_FOUND"),
        ("GET", "/tokens/analysis-progress/not-a-uuid", 400, "INVALID_FIELD"),
        ("POST", "/tokens/abc/upload-audio", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/1?unknown=1", 400, "REQUEST_MALFORMED"),
        ("GET", "/nowhere", 404, "PATH_NOT_FOUND"),
        ("DELETE", "/tokens/1/upload-audio", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/sori.analysis.v1.AnalysisIntakeService/OpenAnalysis", 404, "PATH_NOT_FOUND"),
    ],
)
def test_a_wrong_call_gets_status_and_reason(
    gateway: httpx.Client, method: str, path: str, status: int, reason: str
) -> None:
    answer = gateway.request(method, path)
    assert answer.status_code == status, answer.text
    assert error_info(answer)["reason"] == reason


@pytest.mark.parametrize(
    ("files", "status", "reason"),
    [
        pytest.param([("audio", WAV)], 400, "INVALID_FIELD", id="no part named file"),
        pytest.param([("file", WAV), ("file", WAV)], 400, "INVALID_FIELD", id="two files"),
        pytest.param([("file", b"")], 400, "EMPTY_RECORDING", id="empty file"),
        pytest.param([("file", b"%PDF-1.7 ...")], 415, "UNSUPPORTED_AUDIO", id="pdf"),
        pytest.param([("file", a_zip())], 415, "UNSUPPORTED_AUDIO", id="zip named wav"),
        pytest.param(
            [("file", (AUDIO / "notaudio.wav").read_bytes())],
            415,
            "UNSUPPORTED_AUDIO",
            id="notaudio.wav",
        ),
        pytest.param(
            [("file", WAV + bytes(MAX_RECORDING_BYTES))], 413, "RECORDING_TOO_LARGE", id="too large"
        ),
    ],
)
def test_an_invalid_form_is_refused_and_leaves_nothing(
    product: Product, held_token: int, files: list[tuple[str, bytes]], status: int, reason: str
) -> None:
    answer = product.gateway.post(
        f"/tokens/{held_token}/upload-audio",
        files=[(name, ("take.wav", content)) for name, content in files],
    )
    assert answer.status_code == status, answer.text
    assert error_info(answer)["reason"] == reason
    assert product.recording_keys(held_token) == []
    assert {product.result(job)["status"] for job in product.jobs_of(held_token)} <= {"failed"}


def test_an_upload_for_an_unknown_token_is_not_found(product: Product) -> None:
    answer = product.upload(2_000_000_000, "ref_0890.wav")
    assert answer.status_code == 404
    assert error_info(answer)["reason"] == "TOKEN_NOT_FOUND"


def test_the_size_limit_holds_while_the_recording_streams(
    product: Product, held_token: int
) -> None:
    """An endless recording is refused at the limit."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        head = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        yield head.encode() + WAV
        while sent < 40 * MAX_RECORDING_BYTES:
            sent += 1024 * 1024
            yield bytes(1024 * 1024)

    try:
        answer = product.gateway.post(
            f"/tokens/{held_token}/upload-audio",
            content=endless(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 413
    except httpx.TransportError:
        # A client that keeps sending into a closed connection may miss the response.
        pass
    assert sent < 10 * MAX_RECORDING_BYTES
    assert product.recording_keys(held_token) == []


def upload(channel: grpc.Channel, *requests: pb.UploadAudioRequest) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        upload_pb2_grpc.UploadServiceStub(channel).UploadAudio(iter(requests))
    code: grpc.StatusCode = error.value.code()
    return code


@pytest.mark.parametrize(
    "finish",
    [
        pytest.param(pb.UploadAudioFinish(sha256=sha256(b"other").digest()), id="wrong sha256"),
        pytest.param(pb.UploadAudioFinish(sha256=b"short"), id="sha256 of wrong length"),
        pytest.param(pb.UploadAudioFinish(size=1), id="wrong size"),
    ],
)
def test_a_recording_that_differs_from_its_declaration_is_refused(
    product: Product, channel: grpc.Channel, held_token: int, finish: pb.UploadAudioFinish
) -> None:
    code = upload(
        channel,
        pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token)),
        pb.UploadAudioRequest(chunk=WAV),
        pb.UploadAudioRequest(finish=finish),
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert product.recording_keys(held_token) == []


def test_a_stream_that_ends_without_finish_is_refused(
    product: Product, channel: grpc.Channel, held_token: int
) -> None:
    code = upload(
        channel,
        pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=held_token)),
        pb.UploadAudioRequest(chunk=WAV),
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert product.recording_keys(held_token) == []


def test_a_stream_begins_with_metadata(channel: grpc.Channel) -> None:
    assert upload(channel, pb.UploadAudioRequest(chunk=WAV)) is grpc.StatusCode.INVALID_ARGUMENT


class TestWebhook:
    """The analysis server's reports."""

    PATH = "/tokens/webhook/analysis-complete"

    def post(self, gateway: httpx.Client, query: str, **body: object) -> httpx.Response:
        return gateway.post(f"{self.PATH}?{query}", **body)  # type: ignore[arg-type]

    def test_a_report_without_signature_is_refused(self, product: Product, held_token: int) -> None:
        job_id = product.upload_sample(held_token)
        answer = self.post(product.gateway, f"job_id={job_id}", json={"analysis_results": {}})
        assert answer.status_code == 401
        assert error_info(answer)["reason"] == "SIGNATURE_MISSING"

    def test_a_report_with_a_wrong_signature_is_refused(
        self, product: Product, held_token: int
    ) -> None:
        job_id = product.upload_sample(held_token)
        answer = self.post(
            product.gateway, f"job_id={job_id}&signature=x", json={"analysis_results": {}}
        )
        assert answer.status_code == 403
        assert error_info(answer)["reason"] == "SIGNATURE_INVALID"
        assert product.result(job_id)["status"] == "processing"

    def test_a_malformed_body_is_an_error(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        url = analysis_server.job(product.upload_sample(held_token))["webhook_url"]
        answer = httpx.post(url, content=b'{"analysis', headers={"content-type": "text/plain"})
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "REPORT_MALFORMED"

    def test_a_forged_report_is_refused_before_it_is_read(
        self, product: Product, held_token: int
    ) -> None:
        job_id = product.upload_sample(held_token)
        for body in (b'{"analysis', b"[" * 100_000, b"\xff", b""):
            answer = self.post(product.gateway, f"job_id={job_id}&signature=x", content=body)
            assert error_info(answer)["reason"] == "SIGNATURE_INVALID"

    @pytest.mark.parametrize(
        "result",
        [
            pytest.param(b"NaN", id="not a number"),
            pytest.param(b"-1e999", id="overflow"),
            pytest.param(b"9" * 5000, id="huge integer"),
            pytest.param(b"[" * 60 + b"]" * 60, id="deep"),
            pytest.param(b"[" * 5000 + b"]" * 5000, id="deeper than JSON parsers read"),
            pytest.param(b'"\\ud800"', id="lone surrogate"),
            pytest.param(b'"\xff"', id="not UTF-8"),
        ],
    )
    def test_a_result_that_could_not_be_read_back_is_refused(
        self, product: Product, held_token: int, analysis_server: AnalysisServer, result: bytes
    ) -> None:
        url = analysis_server.job(product.upload_sample(held_token))["webhook_url"]
        answer = httpx.post(url, content=b'{"analysis_results": {"pitch": %s}}' % result)
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "RESULT_UNREADABLE"

    def test_a_report_without_content_is_an_error(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        answer = analysis_server.report(product.upload_sample(held_token), {"score": 1})
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "INVALID_FIELD"

    def test_the_first_report_wins_and_repeats_change_nothing(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        job_id = product.upload_sample(held_token)
        for body, effect in (
            ({"analysis_results": {"score": 1}}, "REPORT_EFFECT_APPLIED"),
            ({"analysis_results": {"score": 2}}, "REPORT_EFFECT_REPEATED"),
            ({"status": "failed", "error": "too late"}, "REPORT_EFFECT_IGNORED"),
            ({"status": "processing", "progress": 5}, "REPORT_EFFECT_IGNORED"),
        ):
            answer = analysis_server.report(job_id, body)
            received = {"received": True, "job_id": job_id, "effect": effect}
            assert (answer.status_code, answer.json()) == (200, received)
        assert product.result(job_id)["result"] == {"score": 1}

    def test_unknown_fields_of_reports_are_ignored(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        job_id = product.upload_sample(held_token)
        url = analysis_server.job(job_id)["webhook_url"]
        body = {"analysis_results": {"score": 1}, "elapsed": 3, "worker": {"id": str(uuid4())}}
        assert httpx.post(f"{url}&source=gpu-7", json=body).status_code == 200
        assert product.result(job_id)["status"] == "completed"

    def test_a_reported_failure_ends_the_job_with_its_message(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        job_id = product.upload_sample(held_token)
        analysis_server.report(job_id, {"status": "failed", "error": "Sing louder."})
        result = product.final_result(job_id)
        assert (result["status"], result["message"]) == ("failed", "Sing louder.")

    def test_a_large_result_is_accepted_and_a_larger_one_refused(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        job_id = product.upload_sample(held_token)
        too_large = analysis_server.report(job_id, {"analysis_results": {"x": "y" * 2**20}})
        assert too_large.status_code == 413
        results = {"contour": [1.5] * 200_000}
        assert analysis_server.report(job_id, {"analysis_results": results}).status_code == 200
        assert product.result(job_id)["result"] == results
