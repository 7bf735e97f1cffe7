"""The worker over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import cast

import httpx
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.analysis.dispatch import Dispatcher
from services.analysis.jobs import Recording
from services.analysis.progress import ProgressFeed
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobStore
from services.analysis.webhook import Webhook
from services.analysis.worker import Worker
from services.runtime.database import Database
from services.runtime.objects import ObjectStore
from sori.catalog.v1 import catalog_pb2_grpc

RECORDING = Recording("recordings/1/x", 3, "audio/wav", bytes(32), "take.wav")


async def test_a_job_that_kills_every_worker_ends(database: Database) -> None:
    settings = AnalysisSettings(
        webhook_signing_key=SecretStr("a key of some length"), dispatch_max_attempts=2
    )
    store = JobStore(database)
    job_id = uuid7()
    await store.open(job_id, 1, timedelta(hours=1))
    await store.attach(job_id, RECORDING)
    for _ in range(settings.dispatch_max_attempts):
        # A worker takes it and is never heard of again.
        await store.claim(1, timedelta(0))
    async with (
        ObjectStore.connect(settings) as objects,
        httpx.AsyncClient() as client,
    ):
        dispatcher = Dispatcher(
            client=client,
            target_url="http://localhost",
            timeout_seconds=1,
            # Every attempt breaks here, as unexpectedly as a crash.
            catalog=cast("catalog_pb2_grpc.CatalogServiceAsyncStub", None),
            objects=objects,
            recording_url_seconds=60,
            webhook=Webhook("http://localhost", "a key of some length", signature_required=True),
        )
        worker = Worker(settings, store, dispatcher)
        feed = ProgressFeed(database, store, heartbeat_seconds=60, on_queued=worker.wake)
        running = asyncio.gather(worker.run(), feed.run())
        async with aclosing(feed.watch(job_id)) as states:
            ended = [job async for job in states][-1]
        running.cancel()
    assert ended.failure_reason == "ANALYSIS_SERVER_UNAVAILABLE"
