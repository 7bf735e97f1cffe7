"""Run the analysis service: `python -m services.analysis [--role api|worker|both]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx

from services.analysis import metrics, reaper
from services.analysis.analyzer_client import AnalyzerClient
from services.analysis.dispatch_request import DispatchRequestBuilder
from services.analysis.jobs import State
from services.analysis.metrics import QueueMetrics
from services.analysis.notifications import JobNotifications
from services.analysis.progress import ProgressFeed
from services.analysis.reaper import JobReaper
from services.analysis.servicer import AnalysisIntakeServicer, AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import ExpiredJobs, JobQueue, JobStore
from services.analysis.webhook import WebhookSigner
from services.analysis.worker import Worker
from services.registry import ANALYSIS
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.periodic import PeriodicTask
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from sori.analysis.v1 import analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2_grpc

MAX_REPORT_BYTES = 64 * 1024 * 1024
"""A Struct takes up to eight times the size of its JSON, which the gateway limits to 8 MiB."""


async def main(role: str) -> None:
    """Serve calls ("api"), work on jobs ("worker"), or do both, until SIGTERM or SIGINT."""
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
        notifications = JobNotifications(database)
        store = JobStore(database, notifications.notify)
        server = Server(
            settings,
            ANALYSIS,
            probes={"database": SchemaProbe(database, ANALYSIS.name)},
            max_message_bytes=MAX_REPORT_BYTES,
            max_calls=settings.analysis_max_calls,
        )
        background = [Background("job notifications", notifications.run)]
        if role != "worker":
            background.append(_add_servicers(server, settings, store, notifications, webhook))
        if role != "api":
            background += await _workers(
                resources, settings, database, store, notifications, webhook
            )
        await server.run(settings.analysis_listen, background=background)


def _add_servicers(
    server: Server,
    settings: AnalysisSettings,
    store: JobStore,
    notifications: JobNotifications,
    webhook: WebhookSigner,
) -> Background:
    feed = ProgressFeed(store, settings.heartbeat_seconds)
    notifications.subscribe(feed.changed, feed.missed)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(
        AnalysisServicer(settings, store, feed, webhook), server.grpc
    )
    analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
        AnalysisIntakeServicer(settings, store), server.grpc
    )
    return Background("progress feed", feed.run, feed.stop)


async def _workers(
    resources: AsyncExitStack,
    settings: AnalysisSettings,
    database: Database,
    store: JobStore,
    notifications: JobNotifications,
    webhook: WebhookSigner,
) -> list[Background]:
    objects = await resources.enter_async_context(ObjectStore.connect(settings))
    catalog = await resources.enter_async_context(
        open_channel(settings.catalog_address, settings.tls)
    )
    http = await resources.enter_async_context(_http_client(settings))
    builder = DispatchRequestBuilder(
        catalog_pb2_grpc.CatalogServiceStub(catalog),
        objects,
        webhook,
        settings.recording_url_seconds,
    )
    client = AnalyzerClient(http, str(settings.target_server_url))
    queue = JobQueue(database, notifications.notify)
    worker = Worker(settings, store, queue, builder, client)
    notifications.subscribe(
        lambda _, state: worker.wake() if state is State.QUEUED else None, worker.wake
    )
    refresh = QueueMetrics(queue).refresh
    tasks = [PeriodicTask("queue metrics", refresh, metrics.INTERVAL_SECONDS)]
    if settings.retention_days:
        age = timedelta(days=settings.retention_days)
        reap = JobReaper(ExpiredJobs(database), objects, age).reap
        tasks.append(PeriodicTask("job reaper", reap, reaper.INTERVAL_SECONDS))
    return [
        Background("worker", worker.run, worker.stop),
        *(Background(task.name, task.run) for task in tasks),
    ]


def _http_client(settings: AnalysisSettings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=httpx.Timeout(
            settings.dispatch_timeout_seconds,
            connect=settings.dispatch_connect_timeout_seconds,
        ),
        limits=httpx.Limits(max_connections=settings.dispatch_concurrency),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.analysis", description=__doc__)
    parser.add_argument(
        "--role",
        choices=(*ANALYSIS.roles, "both"),
        default="both",
        help="serve calls (api), work on jobs (worker), or both (default)",
    )
    asyncio.run(main(parser.parse_args().role))
