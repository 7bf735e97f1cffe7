"""The worker over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import cast

import httpx
from pydantic import SecretStr

from services.analysis.dispatch import AnalyzerClient, DispatchRequestBuilder
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore
from services.analysis.worker import Worker
from services.runtime.database import Database
from tests.integration.jobs import NOW, claimed, queued


async def test_a_job_that_kills_every_worker_ends(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    settings = AnalysisSettings(
        webhook_signing_key=SecretStr("a key of some length"), dispatch_max_attempts=2
    )
    job_id = await queued(store)
    for _ in range(settings.dispatch_max_attempts):
        # A worker takes it and is never heard of again.
        await claimed(queue, NOW)
    async with httpx.AsyncClient() as client:
        # Every attempt breaks here, as unexpectedly as a crash.
        broken = cast("DispatchRequestBuilder", None)
        server = AnalyzerClient(client, "http://localhost")
        ended = asyncio.Event()
        worker = Worker(settings, store, JobQueue(database, lambda *_: ended.set()), broken, server)
        running = asyncio.create_task(worker.run())
        await ended.wait()
        running.cancel()
    assert (await store.get(job_id)).failure_reason == "ANALYSIS_SERVER_UNAVAILABLE"
