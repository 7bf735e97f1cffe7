"""Run the analysis service: `python -m services.analysis [--role R] [--processes N]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import services.runtime.quick_start  # noqa: F401 (first, for its effect)
from services.analysis import metrics, reaper
from services.analysis.admission import Admission
from services.analysis.analyzer_client import AnalyzerClient, open_http
from services.analysis.dispatch_request import DispatchRequestBuilder
from services.analysis.dispatched_tokens import DispatchedTokens
from services.analysis.jobs import State
from services.analysis.metrics import QueueMetrics
from services.analysis.notifications import JobNotifications
from services.analysis.owner_servicer import AnalysisOwnerServicer
from services.analysis.progress import ProgressFeed
from services.analysis.reaper import JobReaper
from services.analysis.report_parser import ReportParser
from services.analysis.servicer import AnalysisIntakeServicer, AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import Deletions, ExpiredJobs, JobQueue, JobStore, OwnedJobs
from services.analysis.webhook import WebhookSigner
from services.analysis.worker import TIME_OUT_INTERVAL_SECONDS, Worker
from services.registry import ANALYSIS
from services.runtime.allocator import configure_allocator
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.periodic import PeriodicTask
from services.runtime.processes import add_processes_argument, become_parent
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from sori.analysis.v1 import analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2_grpc

MAX_SENT_BYTES = 64 * 1024 * 1024
"""The largest result that release 0.2 stored."""

REQUEST_MARGIN_BYTES = 64 * 1024
"""Room in a call of ReportAnalysis for everything except the report."""


async def main(settings: AnalysisSettings, role: str) -> None:
    """Serve calls ("api"), work on jobs ("worker"), or do both, until SIGTERM or SIGINT."""
    configure_allocator()
    configure_logs(ANALYSIS.name, settings.log_level)
    webhook = WebhookSigner(
        str(settings.webhook_url),
        settings.webhook_signing_key.get_secret_value(),
        signature_required=settings.webhook_signature_required,
        previous_key=settings.webhook_signing_key_previous.get_secret_value(),
    )
    parser = ReportParser(settings.analysis_report_bytes)
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database(settings, ANALYSIS.name))
        notifications = JobNotifications(database)
        store = JobStore(database, notifications.notify, settings.max_jobs_per_owner)
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        server = Server(
            settings,
            ANALYSIS,
            probes={"database": SchemaProbe(database, ANALYSIS.name)},
            max_message_bytes=MAX_SENT_BYTES,
            max_request_bytes=settings.analysis_report_bytes + REQUEST_MARGIN_BYTES,
            max_calls=settings.analysis_max_calls,
        )
        background = [Background("job notifications", notifications.run)]
        worker = None
        if role != "api":
            worker, tasks = await _worker(
                resources, settings, database, objects, store, notifications, webhook, parser
            )
            background += tasks
        if role != "worker":
            deletions = Deletions(database, notifications.notify)
            servicers = (settings, store, deletions, notifications, webhook, parser, worker)
            background += _add_servicers(server, *servicers)
            owned = OwnedJobs(database, notifications.notify)
            analysis_pb2_grpc.add_AnalysisOwnerServiceServicer_to_server(
                AnalysisOwnerServicer(store, owned, objects), server.grpc
            )
        await server.run(settings.analysis_listen, background=background)


def _add_servicers(
    server: Server,
    settings: AnalysisSettings,
    store: JobStore,
    deletions: Deletions,
    notifications: JobNotifications,
    webhook: WebhookSigner,
    parser: ReportParser,
    worker: Worker | None,
) -> list[Background]:
    feed = ProgressFeed(store, settings.heartbeat_seconds)
    notifications.subscribe(feed.changed, feed.missed)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(
        AnalysisServicer(settings, store, deletions, feed, webhook, parser), server.grpc
    )
    analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
        _intake_servicer(settings, store, worker), server.grpc
    )
    return [
        Background("progress feed", feed.run, feed.stop),
        Background("heartbeats", feed.run_heartbeats),
    ]


def _intake_servicer(
    settings: AnalysisSettings, store: JobStore, worker: Worker | None
) -> AnalysisIntakeServicer:
    """worker: the one of this process; None without one."""
    if worker is None:
        return AnalysisIntakeServicer(settings, store)
    admission = Admission(lambda: worker.is_busy)
    return AnalysisIntakeServicer(settings, store, admission, worker.reserved)


async def _worker(
    resources: AsyncExitStack,
    settings: AnalysisSettings,
    database: Database,
    objects: ObjectStore,
    store: JobStore,
    notifications: JobNotifications,
    webhook: WebhookSigner,
    parser: ReportParser,
) -> tuple[Worker, list[Background]]:
    catalog = await resources.enter_async_context(
        open_channel(settings.catalog_address, settings.tls)
    )
    target_url = str(settings.target_server_url)
    http = await resources.enter_async_context(
        open_http(
            target_url,
            timeout_seconds=settings.dispatch_timeout_seconds,
            connect_timeout_seconds=settings.dispatch_connect_timeout_seconds,
            connections=settings.dispatch_concurrency,
        )
    )
    tokens = DispatchedTokens(catalog_pb2_grpc.CatalogServiceStub(catalog))
    builder = DispatchRequestBuilder(tokens, objects, webhook, settings.recording_url_seconds)
    client = AnalyzerClient(
        http, target_url, parser, settings.target_server_token.get_secret_value()
    )
    queue = JobQueue(database, notifications.notify)
    worker = Worker(settings, store, queue, builder, client)
    notifications.subscribe(
        lambda _, state: worker.job_queued() if state is State.QUEUED else None, worker.wake
    )
    age = timedelta(days=settings.retention_days) if settings.retention_days else None
    reap = JobReaper(ExpiredJobs(database), objects, age).reap
    tasks = [
        PeriodicTask("job time-outs", worker.time_out, TIME_OUT_INTERVAL_SECONDS),
        PeriodicTask("job reaper", reap, reaper.INTERVAL_SECONDS),
    ]
    if settings.metrics_listen:
        refresh = QueueMetrics(queue).refresh
        tasks.append(PeriodicTask("queue metrics", refresh, metrics.INTERVAL_SECONDS))
    return worker, [
        Background("worker", worker.run, worker.stop),
        Background("lease renewal", worker.leases.run),
        Background("dispatched tokens", tokens.run),
        *(Background(task.name, task.run) for task in tasks),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.analysis", description=__doc__)
    parser.add_argument(
        "--role",
        choices=(*ANALYSIS.roles, "both"),
        default="both",
        help="serve calls (api), work on jobs (worker), or both (default)",
    )
    add_processes_argument(parser)
    arguments, settings = parser.parse_args(), AnalysisSettings.read()
    become_parent(
        arguments.processes,
        ANALYSIS.name,
        settings.log_level,
        settings.analysis_listen,
        settings.health_listen,
    )
    asyncio.run(main(settings, arguments.role))
