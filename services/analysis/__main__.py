"""Run the analysis service: `python -m services.analysis`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx

from services.analysis.dispatch import Dispatcher
from services.analysis.progress import ProgressFeed
from services.analysis.servicer import AnalysisIntakeServicer, AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobStore
from services.analysis.webhook import Webhook
from services.analysis.worker import Worker
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.objects import ObjectStore
from services.runtime.server import Server
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2_grpc

# Numbers take up to eight times as much in a Struct as in the 8 MiB of JSON they came in.
MAX_REPORT_BYTES = 64 * 1024 * 1024

NAMES = [service.full_name for service in analysis_pb2.DESCRIPTOR.services_by_name.values()]


async def main() -> None:
    """Serve and dispatch until told to stop."""
    settings = AnalysisSettings.read()
    configure_logs("analysis", settings.log_level)
    webhook = Webhook(
        str(settings.webhook_url),
        settings.webhook_signing_key.get_secret_value(),
        signature_required=settings.webhook_signature_required,
    )
    async with (
        Database(settings, "analysis") as database,
        ObjectStore.connect(settings) as objects,
        open_channel(settings.catalog_address) as catalog,
        httpx.AsyncClient(timeout=settings.dispatch_timeout_seconds) as client,
    ):
        store = JobStore(database)
        dispatcher = Dispatcher(
            client=client,
            target_url=str(settings.target_server_url),
            timeout_seconds=settings.dispatch_timeout_seconds,
            catalog=catalog_pb2_grpc.CatalogServiceStub(catalog),
            objects=objects,
            recording_url_seconds=settings.recording_url_seconds,
            webhook=webhook,
        )
        worker = Worker(settings, store, dispatcher)
        feed = ProgressFeed(database, store, settings.heartbeat_seconds, on_queued=worker.wake)
        server = Server(
            settings,
            names=NAMES,
            probes={"database": database.probe},
            max_message_bytes=MAX_REPORT_BYTES,
        )
        analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(
            AnalysisServicer(store, feed, webhook), server.grpc
        )
        analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
            AnalysisIntakeServicer(store, timedelta(seconds=settings.upload_timeout_seconds)),
            server.grpc,
        )
        await server.run(
            settings.analysis_listen, background=[worker.run, feed.run], on_stop=feed.stop
        )


if __name__ == "__main__":
    asyncio.run(main())
