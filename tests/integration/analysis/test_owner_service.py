"""AnalysisOwnerService over gRPC, on PostgreSQL and S3: what accounts gets for its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import grpc
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.analysis.owner_servicer import AnalysisOwnerServicer
from services.analysis.reaper import JobReaper
from services.analysis.store import ExpiredJobs, JobQueue, JobStore, OwnedJobs, Submission
from services.analysis.store import settlements as settlement_of
from services.registry import PROGRAMS
from services.runtime.access import AccessCheck
from services.runtime.callers import guest_owner_id
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from services.runtime.settings import ObjectStoreSettings
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc
from stack.stack import Stack
from tests.databases import copy_database
from tests.integration.analysis.jobs import ANSWERED_503, LONG, RECORDING, RESULT, claimed, settled

Stub: TypeAlias = "analysis_pb2_grpc.AnalysisOwnerServiceAsyncStub"

LEARNER, OTHER_LEARNER, GUEST = "account-a", "account-b", guest_owner_id("secret")
WITHOUT = (*PROGRAMS, "analyzer", "gateway")
LEARNER_CALLER = (("x-sori-caller", "account"), ("x-sori-account", LEARNER))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("storage")
    copy_database(folder)
    with Stack.on_free_ports(folder, without=WITHOUT, seeded=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def database_url(storage: Stack) -> str:
    return storage.database_url


@pytest.fixture
async def objects(storage: Stack) -> AsyncIterator[ObjectStore]:
    s3 = storage.s3
    settings = ObjectStoreSettings(
        s3_endpoint_url=s3.endpoint_url,
        s3_bucket_name=s3.bucket,
        aws_region=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=SecretStr(s3.secret_key),
    )
    async with ObjectStore.connect(settings) as objects:
        yield objects


@pytest.fixture
async def stub(database: Database, store: JobStore, objects: ObjectStore) -> AsyncIterator[Stub]:
    server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=True)])
    analysis_pb2_grpc.add_AnalysisOwnerServiceServicer_to_server(
        AnalysisOwnerServicer(store, OwnedJobs(database), objects), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield analysis_pb2_grpc.AnalysisOwnerServiceStub(channel)
    await server.stop(None)


async def uploaded(store: JobStore, objects: ObjectStore, owner_id: str) -> UUID:
    """A job with its recording in S3, whose content is the id of the job."""
    job_id = random_uuid7()
    recording = replace(RECORDING, object_key=f"recordings/1/{job_id}")
    await objects.put(recording.object_key, str(job_id).encode(), recording.content_type)
    await store.submit(Submission(job_id, 1, recording, 1, owner_id=owner_id), LONG, None)
    return job_id


async def stored_recordings(objects: ObjectStore) -> set[str]:
    keys, _ = await objects.list_page("recordings/", after="", limit=100)
    return {key.rpartition("/")[2] for key in keys}


async def exported(stub: Stub, owner_id: str) -> list[pb.ExportedAnalysis]:
    call = stub.ExportAnalyses(pb.ExportAnalysesRequest(owner_id=owner_id))
    return [each async for each in call]


async def test_the_analyses_of_a_guest_become_those_of_the_account(
    store: JobStore, objects: ObjectStore, stub: Stub
) -> None:
    job_ids = [await uploaded(store, objects, GUEST) for _ in range(2)]
    request = pb.AdoptAnalysesRequest(from_owner_id=GUEST, to_owner_id=LEARNER)
    assert (await stub.AdoptAnalyses(request)).adopted == 2
    assert (await stub.AdoptAnalyses(request)).adopted == 0
    assert [(await store.get(job_id)).owner_id for job_id in job_ids] == [LEARNER, LEARNER]


async def test_nothing_is_left_of_an_erased_owner(
    database: Database, store: JobStore, queue: JobQueue, objects: ObjectStore, stub: Stub
) -> None:
    """Neither rows nor recordings, nor the histories of dispatches."""
    erased = [await uploaded(store, objects, LEARNER) for _ in range(3)]
    await settled(queue, settlement_of.postponed(await claimed(queue), ANSWERED_503))
    await store.complete(erased[1], RESULT, "1")
    kept = await uploaded(store, objects, OTHER_LEARNER)

    request = pb.EraseAnalysesRequest(owner_id=LEARNER)
    answer = await stub.EraseAnalyses(request)
    assert (answer.erased, answer.has_more, answer.pending) == (3, False, 3)
    assert (await stub.EraseAnalyses(request)).pending == 3
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE analysis.jobs SET delete_time = delete_time - interval '2 minutes'")
        )
    await JobReaper(ExpiredJobs(database), objects, None).reap()

    assert (await stub.EraseAnalyses(request)).pending == 0
    recordings = await stored_recordings(objects)
    assert str(kept) in recordings
    assert recordings.isdisjoint(map(str, erased))
    async with database.transaction() as connection:
        jobs = (await connection.scalars(text("SELECT job_id FROM analysis.jobs"))).all()
        attempts = await connection.scalar(text("SELECT count(*) FROM analysis.attempts"))
    assert (jobs, attempts) == ([kept], 0)


async def test_an_erasure_takes_several_calls_if_there_are_many(
    store: JobStore, objects: ObjectStore, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("owner_servicer", "store.owned_jobs"):
        monkeypatch.setattr(f"services.analysis.{module}.BATCH", 2)
    for _ in range(3):
        await uploaded(store, objects, LEARNER)
    request = pb.EraseAnalysesRequest(owner_id=LEARNER)
    answers = [await stub.EraseAnalyses(request) for _ in range(2)]
    assert [(each.erased, each.has_more) for each in answers] == [(2, True), (1, False)]


async def test_an_export_has_all_analyses_with_results_histories_and_recordings(
    store: JobStore,
    queue: JobQueue,
    objects: ObjectStore,
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.analysis.owner_servicer.EXPORT_PAGE", 2)
    job_ids = [await uploaded(store, objects, LEARNER) for _ in range(3)]
    await uploaded(store, objects, OTHER_LEARNER)
    await settled(queue, settlement_of.postponed(await claimed(queue), ANSWERED_503))
    await store.complete(job_ids[0], RESULT, "1")
    opened = random_uuid7()
    await store.create(opened, 1, LONG, None, LEARNER)

    found = await exported(stub, LEARNER)
    newest_first = [str(each) for each in (opened, *reversed(job_ids))]
    assert [each.analysis.job_id for each in found] == newest_first
    assert {each.analysis.owner_id for each in found} == {LEARNER}
    oldest = found[-1].analysis
    assert (dict(oldest.result), len(oldest.attempts)) == ({"score": 1}, 1)
    assert found[0].recording_url == ""
    async with aiohttp.ClientSession() as http:
        for each in found[1:]:
            async with http.get(each.recording_url) as answer:
                assert await answer.text() == each.analysis.job_id


async def test_an_export_leaves_out_deleted_analyses(
    store: JobStore, objects: ObjectStore, stub: Stub
) -> None:
    await uploaded(store, objects, LEARNER)
    await stub.EraseAnalyses(pb.EraseAnalysesRequest(owner_id=LEARNER))
    assert await exported(stub, LEARNER) == []


async def test_learners_may_not_call_it(stub: Stub) -> None:
    request = pb.EraseAnalysesRequest(owner_id=LEARNER)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.EraseAnalyses(request, metadata=LEARNER_CALLER)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("AdoptAnalyses", pb.AdoptAnalysesRequest(to_owner_id=LEARNER)),
        ("AdoptAnalyses", pb.AdoptAnalysesRequest(from_owner_id=GUEST)),
        (
            "AdoptAnalyses",
            pb.AdoptAnalysesRequest(from_owner_id=OTHER_LEARNER, to_owner_id=LEARNER),
        ),
        ("AdoptAnalyses", pb.AdoptAnalysesRequest(from_owner_id=GUEST, to_owner_id=GUEST)),
        ("EraseAnalyses", pb.EraseAnalysesRequest()),
        ("EraseAnalyses", pb.EraseAnalysesRequest(owner_id="x" * 256)),
        ("EraseAnalyses", pb.EraseAnalysesRequest(owner_id="\0")),
    ],
    ids=[
        *("no guest", "no account", "from an account", "to a guest"),
        *("no owner", "long owner", "NUL"),
    ],
)
async def test_an_invalid_request_is_refused(stub: Stub, method: str, request_message: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await getattr(stub, method)(request_message)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_export_without_an_owner_is_refused(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await exported(stub, "")
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
