"""The worker on PostgreSQL: jobs that kill workers end, and an unexpected error ends no worker.

Neither the catalog nor the analysis server is reachable, so no dispatch succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from uuid import UUID

import pytest
from asyncpg import UndefinedColumnError
from pydantic import SecretStr

from services.analysis.analyzer_client import AnalyzerClient, open_http
from services.analysis.dispatch_request import DispatchRequestBuilder
from services.analysis.dispatched_tokens import DispatchedTokens
from services.analysis.jobs import AttemptOutcome, State
from services.analysis.report_parser import ReportParser
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore, Submission
from services.analysis.webhook import WebhookSigner
from services.analysis.worker import Worker
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.object_store import ObjectStore
from sori.catalog.v1 import catalog_pb2_grpc
from tests.integration.analysis.faults import broken_schema
from tests.integration.analysis.jobs import LONG, NOW, RECORDING, claimed, opened, queued

NOWHERE = "127.0.0.1:9"
URL = f"http://{NOWHERE}"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def settings() -> AnalysisSettings:
    return AnalysisSettings(
        webhook_signing_key=SecretStr("a key of some length"),
        aws_access_key_id="none",
        aws_secret_access_key=SecretStr("none"),
        dispatch_max_attempts=2,
        dispatch_poll_seconds=0.1,
    )


@pytest.fixture
def transitions() -> asyncio.Queue[State]:
    """The transitions that the worker causes."""
    return asyncio.Queue()


@pytest.fixture
async def worker(
    settings: AnalysisSettings,
    database: Database,
    store: JobStore,
    transitions: asyncio.Queue[State],
) -> AsyncIterator[Worker]:
    async with AsyncExitStack() as resources:
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        channel = await resources.enter_async_context(open_channel(NOWHERE, None))
        http = await resources.enter_async_context(
            open_http(URL, timeout_seconds=5, connect_timeout_seconds=5, connections=16)
        )
        builder = DispatchRequestBuilder(
            DispatchedTokens(catalog_pb2_grpc.CatalogServiceStub(channel)),
            objects,
            WebhookSigner("http://localhost", "a key of some length", signature_required=True),
            3600,
        )
        queue = JobQueue(database, lambda _, state: transitions.put_nowait(state))
        client = AnalyzerClient(http, URL, ReportParser(1024))
        yield Worker(settings, store, queue, builder, client)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    yield
    task.cancel()


async def queued_after_crashes(
    settings: AnalysisSettings, store: JobStore, queue: JobQueue
) -> UUID:
    """A job whose workers died as often as it may be dispatched."""
    job_id = await queued(store)
    for _ in range(settings.dispatch_max_attempts):
        # A worker claims the job and dies: the lease expires, and nothing settles the claim.
        await claimed(queue, NOW)
    return job_id


async def test_a_job_that_kills_every_worker_fails(
    settings: AnalysisSettings,
    store: JobStore,
    queue: JobQueue,
    worker: Worker,
    transitions: asyncio.Queue[State],
) -> None:
    job_id = await queued_after_crashes(settings, store, queue)
    async with running(worker):
        assert await asyncio.wait_for(transitions.get(), PATIENCE_SECONDS) is State.FAILED
    analysis = await store.get_analysis(job_id)
    assert analysis.job.failure_reason == "ANALYSIS_SERVER_UNAVAILABLE"
    assert [attempt.outcome for attempt in analysis.attempts] == [
        AttemptOutcome.LOST,
        AttemptOutcome.LOST,
        AttemptOutcome.FAILED,
    ]


async def test_a_worker_can_run_again_after_an_unexpected_error(
    settings: AnalysisSettings,
    database_url: str,
    store: JobStore,
    queue: JobQueue,
    worker: Worker,
    transitions: asyncio.Queue[State],
) -> None:
    with broken_schema(database_url), pytest.raises(UndefinedColumnError):
        await asyncio.wait_for(worker.run(), PATIENCE_SECONDS)
    await queued_after_crashes(settings, store, queue)
    async with running(worker):
        assert await asyncio.wait_for(transitions.get(), PATIENCE_SECONDS) is State.FAILED


async def test_a_worker_fails_jobs_whose_deadline_has_passed(
    store: JobStore, worker: Worker, transitions: asyncio.Queue[State]
) -> None:
    await store.attach_recording(await opened(store), RECORDING, 1, NOW, None)
    assert not await worker.time_out()
    assert transitions.get_nowait() is State.FAILED


async def test_a_job_that_was_created_with_its_claim_is_dispatched_at_once(
    store: JobStore, worker: Worker
) -> None:
    job_id = random_uuid7()
    with worker.reserved() as claimant:
        await store.submit(Submission(job_id, 1, RECORDING), LONG, None, claimant)
    # Returns when the dispatch is settled; nothing claims jobs here.
    await worker.stop()
    (attempt,) = (await store.get_analysis(job_id)).attempts
    assert (attempt.number, attempt.outcome) == (1, AttemptOutcome.FAILED)


async def test_a_reservation_is_one_of_the_jobs_under_way(
    settings: AnalysisSettings, worker: Worker
) -> None:
    with ExitStack() as reservations:
        for _ in range(settings.dispatch_concurrency):
            assert reservations.enter_context(worker.reserved()) is not None
        assert worker.is_busy
        assert reservations.enter_context(worker.reserved()) is None
    assert not worker.is_busy


async def test_no_room_is_reserved_while_jobs_wait(worker: Worker) -> None:
    worker.job_queued()
    with worker.reserved() as claimant:
        assert claimant is None


async def test_no_room_is_reserved_after_the_worker_was_stopped(worker: Worker) -> None:
    await worker.stop()
    with worker.reserved() as claimant:
        assert claimant is None


async def test_a_worker_stops_after_the_jobs_that_are_being_submitted(worker: Worker) -> None:
    with worker.reserved():
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_waiting_jobs_are_no_longer_expected_after_a_pass_found_none(
    store: JobStore, worker: Worker
) -> None:
    worker.job_queued()
    async with running(worker):
        while worker.is_busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
