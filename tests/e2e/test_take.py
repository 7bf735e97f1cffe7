"""Takes from upload to result, by form, by gRPC and by grpcurl."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from services.upload.models import recording_key
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from stack.stack import Stack
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import AUDIO, Product
from tests.e2e.waiting import PATIENCE_SECONDS, eventually

SEEDED_TOKEN = 1
TAKES = (
    "ref_0890.wav",
    "take_0890_close.webm",
    "take_0890_close_48k_stereo.flac",
    "take_0890_othervoice.m4a",
    "take_0890_wrongline.mp3",
    "take_0930_fast.ogg",
)


def test_a_take_by_form_goes_from_upload_to_result(product: Product) -> None:
    answer = product.upload(SEEDED_TOKEN, "take_0890_close.webm")
    assert answer.status_code == 200
    job_id = answer.json()["job_id"]
    assert answer.json() == {
        "message": "업로드 완료, 백그라운드에서 처리됩니다.",
        "job_id": str(UUID(job_id)),
        "status": "processing",
    }
    assert UUID(job_id).version == 7

    states = list(product.states(job_id))
    assert [state["progress"] for state in states] == sorted(s["progress"] for s in states)
    assert all(set(state) == {"status", "progress", "message"} for state in states[:-1])
    last = states[-1]
    assert (last["status"], last["progress"], last["message"]) == ("completed", 100, "분석 완료")
    assert 0 <= last["result"]["overall_score"] <= 100

    assert product.result(job_id) == {
        "status": "completed",
        "token_id": "1",
        "progress": 100,
        "result": last["result"],
        "message": "분석 완료",
    }


def test_scores_rank_takes_by_similarity(product: Product) -> None:
    takes = TAKES[:5]
    jobs = [product.upload_sample(SEEDED_TOKEN, take) for take in takes]
    scores = [product.final_result(job)["result"]["overall_score"] for job in jobs]
    reference, webm, flac, other_voice, wrong_line = scores
    assert reference > max(webm, flac)
    assert abs(webm - flac) <= 2
    assert min(webm, flac) > other_voice > wrong_line


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ("silence_2s.wav", "SILENT_AUDIO"),
        ("truncated.m4a", "UNDECODABLE_AUDIO"),
    ],
)
def test_a_recording_that_cannot_be_analysed_fails_with_a_message(
    product: Product, recording: str, reason: str
) -> None:
    ended = product.final_result(product.upload_sample(SEEDED_TOKEN, recording))
    assert ended["status"] == "failed"
    assert ended["failure_reason"] == reason
    assert "다시" in ended["message"]
    assert ended["progress"] < 100


def test_a_watcher_receives_each_stage_of_the_progress(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    states = product.states(job_id)
    waiting = next(state for state in states if state["progress"] == 90)
    assert waiting == {"status": "processing", "progress": 90, "message": "분석 중... 결과 대기"}
    analysis_server.report(job_id, {"analysis_results": {"score": 1}})
    completed = next(state for state in states if state["progress"] == 100)
    assert completed["result"] == {"score": 1}


def test_messages_are_english_if_the_client_asks_for_english(
    product: Product, held_token: int
) -> None:
    answer = product.upload(held_token, "ref_0890.wav", {"accept-language": "en-GB,en;q=0.8"})
    assert answer.json()["message"] == "Uploaded; it is being processed in the background."


def test_the_dispatch_contains_the_token_with_scripts_and_assets(
    product: Product, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(SEEDED_TOKEN, "ref_0930.wav")
    body = analysis_server.job(job_id)
    assert set(body) == {"job_id", "audio_url", "token", "webhook_url"}
    assert body["token"]["id"] == SEEDED_TOKEN
    assert body["token"]["scripts"][0]["words"][0]["text"]
    assert body["token"]["reference_assets"]["voice"]["url"].startswith("http")


def upload_requests(
    recording: Path, token_id: int = SEEDED_TOKEN
) -> list[upload_pb2.UploadAudioRequest]:
    return [
        upload_pb2.UploadAudioRequest(
            metadata=upload_pb2.UploadAudioMetadata(token_id=token_id, file_name="take")
        ),
        upload_pb2.UploadAudioRequest(chunk=recording.read_bytes()),
        upload_pb2.UploadAudioRequest(finish=upload_pb2.UploadAudioFinish()),
    ]


def test_a_take_by_grpc_is_watched_while_it_uploads(channel: grpc.Channel) -> None:
    upload = upload_pb2_grpc.UploadServiceStub(channel)
    analysis = analysis_pb2_grpc.AnalysisServiceStub(channel)
    call = upload.UploadAudio.future(iter(upload_requests(AUDIO / "ref_0890.wav")))
    job_id = str(dict(call.initial_metadata())["x-job-id"])
    states = list(analysis.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(job_id=job_id)))
    assert call.result().job_id == job_id
    assert [state.progress for state in states] == sorted(state.progress for state in states)
    assert states[-1].status == "completed"
    assert MessageToDict(states[-1].result)["overall_score"] > 95


def test_a_slow_take_shows_its_progress_while_it_uploads(channel: grpc.Channel) -> None:
    upload = upload_pb2_grpc.UploadServiceStub(channel)
    analysis = analysis_pb2_grpc.AnalysisServiceStub(channel)
    is_shown = threading.Event()

    def requests() -> Iterator[upload_pb2.UploadAudioRequest]:
        *start, finish = upload_requests(AUDIO / "ref_0890.wav")
        yield from start
        is_shown.wait(PATIENCE_SECONDS)
        yield finish

    call = upload.UploadAudio.future(requests())
    job_id = str(dict(call.initial_metadata())["x-job-id"])
    shown = set()
    for state in analysis.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(job_id=job_id)):
        shown.add(state.progress)
        if state.progress == 40:
            is_shown.set()
    assert {40, 100} <= shown
    assert call.result().job_id == job_id


def test_a_take_that_arrives_at_once_costs_one_call_to_analysis(
    product: Product, held_token: int
) -> None:
    with grpc.insecure_channel(product.stack.address("upload")) as channel:
        stub = upload_pb2_grpc.UploadServiceStub(channel)

        def calls_of_a_take() -> list[str]:
            request_id = uuid4().hex
            stub.UploadAudio(
                iter(upload_requests(AUDIO / "ref_0890.wav", held_token)),
                metadata=(("x-request-id", request_id),),
            )
            upload = "UploadService/UploadAudio"
            eventually(lambda: upload in methods_called(product.stack, request_id))
            return methods_called(product.stack, request_id)

        # The first take of a token also reads the token, and one that is slower than a second
        # opens its job first.
        once = ["AnalysisIntakeService/SubmitRecording", "UploadService/UploadAudio"]
        eventually(lambda: calls_of_a_take() == once)


def methods_called(stack: Stack, request_id: str) -> list[str]:
    """The methods that the services' logs name for a request, sorted."""
    lines = [
        line for name in ("upload", "analysis", "catalog") for line in stack.logs(name).splitlines()
    ]
    calls = [line for line in lines if request_id in line and "duration_ms" in line]
    methods = [re.search(r"\.(\w+Service/\w+)", line) for line in calls]
    return sorted(each[1] for each in methods if each)


def test_a_take_by_grpcurl(product: Product) -> None:
    lines = [
        {"metadata": {"token_id": SEEDED_TOKEN, "file_name": "take.wav"}},
        {"chunk": b64encode((AUDIO / "ref_0890.wav").read_bytes()).decode()},
        {"finish": {}},
    ]
    address = product.stack.gateway_url.removeprefix("http://")
    grpcurl = Path(sys.executable).with_name("grpcurl")
    answer = subprocess.run(
        [grpcurl, "-plaintext", "-d", "@", address, "sori.upload.v1.UploadService/UploadAudio"],
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert product.final_result(json.loads(answer.stdout)["job_id"])["status"] == "completed"


def test_twenty_concurrent_takes_all_complete(product: Product) -> None:
    with ThreadPoolExecutor(20) as pool:
        takes = [TAKES[number % len(TAKES)] for number in range(20)]
        jobs = list(pool.map(lambda take: product.upload_sample(SEEDED_TOKEN, take), takes))
        ended = list(pool.map(product.final_result, jobs))
    assert [job["status"] for job in ended] == ["completed"] * 20


@pytest.mark.parametrize(
    "file_name", ["../../etc/passwd", "a\r\nb.wav", "x" * 4096, "녹음.wav", "🎙️.wav"]
)
def test_a_file_name_is_never_part_of_an_object_key(
    product: Product, held_token: int, file_name: str
) -> None:
    recording = (AUDIO / "ref_0890.wav").read_bytes()
    answer = product.gateway.post(
        f"/tokens/{held_token}/upload-audio", files={"file": (file_name, recording)}
    )
    assert answer.status_code == 200, answer.text
    assert product.recording_keys(held_token) == [
        recording_key(held_token, UUID(answer.json()["job_id"]))
    ]


def test_a_recording_of_several_parts_arrives_unchanged(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    recording = (AUDIO / "ref_0890.wav").read_bytes() + bytes(range(256)) * 80_000
    answer = product.gateway.post(
        f"/tokens/{held_token}/upload-audio", files={"file": ("long.wav", recording)}
    )
    audio_url = analysis_server.job(answer.json()["job_id"])["audio_url"]
    assert product.gateway.get(audio_url).content == recording
