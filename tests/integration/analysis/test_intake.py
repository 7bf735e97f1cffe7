"""AnalysisIntakeService over gRPC: what the upload service gets for its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from pydantic import SecretStr

from services.analysis.jobs import State
from services.analysis.servicer import AnalysisIntakeServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobStore
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.interceptors import CallInterceptor, Context
from services.runtime.shared_errors import TooManyJobs
from services.upload.clients import AnalysisClient
from services.upload.models import StoredObject
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc

RECORDING: dict[str, Any] = {
    "object_key": "recordings/1/x",
    "size": 3,
    "content_type": "audio/wav",
    "sha256": bytes(32),
}


@asynccontextmanager
async def serving(
    store: JobStore, servicer: type[AnalysisIntakeServicer] = AnalysisIntakeServicer
) -> AsyncIterator[grpc.aio.Channel]:
    settings = AnalysisSettings(webhook_signing_key=SecretStr("a key of some length"))
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(servicer(settings, store), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


@pytest.fixture
async def intake(
    store: JobStore,
) -> AsyncIterator[analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub]:
    async with serving(store) as channel:
        yield analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)


def submission(**fields: Any) -> pb.SubmitRecordingRequest:
    given: dict[str, Any] = {
        "job_id": str(random_uuid7()),
        "token_id": 1,
        "token_revision": 1,
        "recording": pb.Recording(**RECORDING),
    }
    return pb.SubmitRecordingRequest(**given | fields)


async def test_a_submitted_recording_is_queued(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub, store: JobStore
) -> None:
    request = submission()
    for _ in range(2):
        assert (await intake.SubmitRecording(request)).job_id == request.job_id
    assert (await store.get(UUID(request.job_id))).state is State.QUEUED


async def test_a_request_of_other_audio_is_refused(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub,
) -> None:
    first = submission(request_id="request")
    await intake.SubmitRecording(first)
    same = await intake.SubmitRecording(submission(request_id="request"))
    assert same.job_id == first.job_id
    other = pb.Recording(**RECORDING | {"sha256": b"\1" * 32})
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await intake.SubmitRecording(submission(request_id="request", recording=other))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("way", ["OpenAnalysis", "SubmitRecording"])
async def test_a_job_belongs_to_the_owner_that_the_upload_service_states(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub, store: JobStore, way: str
) -> None:
    request: Any = submission(owner_id="account-a")
    if way == "OpenAnalysis":
        request = pb.OpenAnalysisRequest(
            job_id=request.job_id, token_id=1, owner_id=request.owner_id
        )
    await getattr(intake, way)(request)
    assert (await store.get(UUID(request.job_id))).owner_id == "account-a"


class FullAnalysis(AnalysisIntakeServicer):
    """An analysis service at which every owner has too many jobs under way."""

    async def OpenAnalysis(
        self, request: pb.OpenAnalysisRequest, context: Context
    ) -> pb.OpenAnalysisResponse:
        raise TooManyJobs(limit=7)

    async def SubmitRecording(
        self, request: pb.SubmitRecordingRequest, context: Context
    ) -> pb.SubmitRecordingResponse:
        raise TooManyJobs(limit=7)


async def test_the_upload_service_passes_on_that_an_owner_has_too_many_jobs(
    store: JobStore,
) -> None:
    recording = StoredObject("recordings/1/x", 3, "audio/wav", bytes(32))
    async with serving(store, FullAnalysis) as channel:
        client = AnalysisClient(channel)
        for call in (
            client.open_job(random_uuid7(), 1),
            client.submit_recording(random_uuid7(), 1, recording),
        ):
            with pytest.raises(TooManyJobs) as refusal:
                await call
            assert refusal.value.metadata == {"limit": "7"}


async def test_an_owner_with_too_many_jobs_is_asked_to_try_later(
    database: Database, store: JobStore
) -> None:
    async with serving(JobStore(database, max_jobs_per_owner=1)) as channel:
        stub = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)
        await stub.SubmitRecording(submission(owner_id="account-a"))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.SubmitRecording(submission(owner_id="account-a"))
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(refusal.value.trailing_metadata() or ())["retry-after"]) > 0


async def test_a_submission_of_an_old_id_is_refused(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub,
) -> None:
    old = "01890a5d-ac96-774b-bcce-b302099a8057"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await intake.SubmitRecording(submission(job_id=old))
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "fields",
    [
        {"job_id": "x"},
        {"job_id": str(uuid4())},
        {"token_id": 0},
        {"request_id": "x" * 129},
        {"request_id": "\0"},
        {"token_revision": -1},
        {"owner_id": "x" * 256},
        {"owner_id": "\0"},
        {"request_id": "account\nrequest"},
        {"recording": None},
        {"recording": pb.Recording(**RECORDING | {"object_key": ""})},
        {"recording": pb.Recording(**RECORDING | {"object_key": "\0"})},
        {"recording": pb.Recording(**RECORDING | {"size": 0})},
        {"recording": pb.Recording(**RECORDING | {"content_type": ""})},
        {"recording": pb.Recording(**RECORDING | {"sha256": b"\0"})},
        {"recording": pb.Recording(**RECORDING, file_name="x" * 256)},
    ],
    ids=[
        *("no UUID", "no UUIDv7", "no token", "long request id", "NUL in request id"),
        *("negative revision", "long owner", "NUL in owner", "line break in request id"),
        *("no recording", "no key", "NUL in key", "empty", "no type"),
        *("short hash", "long file name"),
    ],
)
async def test_an_invalid_submission_is_refused(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub, fields: dict[str, Any]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await intake.SubmitRecording(submission(**fields))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_existing_jobs_are_found(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub,
) -> None:
    request = submission()
    await intake.SubmitRecording(request)
    asked = pb.BatchCheckJobsRequest(job_ids=[request.job_id, str(uuid4())])
    assert list((await intake.BatchCheckJobs(asked)).job_ids) == [request.job_id]


@pytest.mark.parametrize("job_ids", [["x"], [str(uuid4())] * 1001], ids=["no UUID", "too many"])
async def test_an_invalid_check_is_refused(
    intake: analysis_pb2_grpc.AnalysisIntakeServiceAsyncStub, job_ids: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await intake.BatchCheckJobs(pb.BatchCheckJobsRequest(job_ids=job_ids))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
