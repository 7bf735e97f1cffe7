"""Run the analysis service: `python -m services.analysis [--role api|worker|both]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx

from services.analysis.dispatch import AnalyzerClient, DispatchRequestBuilder
from services.analysis.jobs import State
from services.analysis.metrics import QueueMetrics
from services.analysis.notifications import JobNotifications
from services.analysis.progress import ProgressFeed
from services.analysis.reaper import JobReaper
from services.analysis.servicer import AnalysisIntakeServicer, AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore
from services.analysis.webhook import WebhookSigner
from services.analysis.worker import Worker
from services.registry import ANALYSIS
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from sori.analysis.v1 import analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2_grpc

# Reports have at most 8 MiB of JSON; in a Struct, numbers need up to eight times as much.
MAX_REPORT_BYTES = 64 * 1024 * 1024


async def main(role: str) -> None:
    """Serve calls, work on jobs, or both, until SIGTERM or SIGINT.

    role: "api", "worker" or "both".
    """
    settings = AnalysisSettings.read()
    configure_logs(ANALYSIS.name, settings.log_level)
    webhook = WebhookSigner(
        str(settings.webhook_url),
        settings.webhook_signing_key.get_secret_value(),
        signature_required=settings.webhook_signature_required,
        previous_key=settings.webhook_signing_key_previous.get_secret_value(),
    )
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database(settings, ANALYSIS.name))
        notices = JobNotifications(database)
        store, queue = JobStore(database, notices.tell), JobQueue(database, notices.tell)
        server = Server(
            settings,
            ANALYSIS,
            probes={"database": SchemaProbe(database, ANALYSIS.name)},
            max_message_bytes=MAX_REPORT_BYTES,
        )
        background: list[Background] = [Background("job notifications", notices.run)]
        if role != "worker":
            background.append(_serve(server, settings, store, notices, webhook))
        if role != "api":
            background += await _work(resources, settings, store, queue, notices, webhook)
        await server.run(settings.analysis_listen, background=background)


def _serve(
    server: Server,
    settings: AnalysisSettings,
    store: JobStore,
    notices: JobNotifications,
    webhook: WebhookSigner,
) -> Background:
    feed = ProgressFeed(store, settings.heartbeat_seconds)
    notices.follow(feed.changed, feed.missed)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(
        AnalysisServicer(settings, store, feed, webhook), server.grpc
    )
    analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
        AnalysisIntakeServicer(settings, store), server.grpc
    )
    return Background("progress feed", feed.run, feed.stop)


async def _work(
    resources: AsyncExitStack,
    settings: AnalysisSettings,
    store: JobStore,
    queue: JobQueue,
    notices: JobNotifications,
    webhook: WebhookSigner,
) -> list[Background]:
    objects = await resources.enter_async_context(ObjectStore.connect(settings))
    catalog = await resources.enter_async_context(
        open_channel(settings.catalog_address, settings.tls)
    )
    client = await resources.enter_async_context(
        httpx.AsyncClient(
            timeout=httpx.Timeout(
                settings.dispatch_timeout_seconds,
                connect=settings.dispatch_connect_timeout_seconds,
            ),
            limits=httpx.Limits(max_connections=settings.dispatch_concurrency),
        )
    )
    target = AnalyzerClient(client, str(settings.target_server_url))
    preparer = DispatchRequestBuilder(
        catalog_pb2_grpc.CatalogServiceStub(catalog),
        objects,
        webhook,
        settings.recording_url_seconds,
    )
    worker = Worker(settings, store, queue, preparer, target)
    notices.follow(lambda _, state: worker.wake() if state is State.QUEUED else None, worker.wake)
    work = [
        Background("worker", worker.run, worker.stop),
        Background("queue metrics", QueueMetrics(queue).run),
    ]
    if settings.retention_days is not None:
        age = timedelta(days=settings.retention_days)
        work.append(Background("job reaper", JobReaper(store, objects, age).run))
    return work


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.analysis", description=__doc__)
    parser.add_argument(
        "--role",
        choices=(*ANALYSIS.roles, "both"),
        default="both",
        help="serve calls, work on jobs, or both (default)",
    )
    asyncio.run(main(parser.parse_args().role))
