"""Run the catalog service: `python -m services.catalog`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from services.catalog.clients import AnalysisClient
from services.catalog.reaper import ChangeReaper
from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.server import Background, Server
from sori.analysis.v1 import analysis_pb2
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import upload_pb2

NAME = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name

# The gateway serves three services at one address and routes reflection calls here.
REFLECTED = (
    NAME,
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"].full_name,
    analysis_pb2.DESCRIPTOR.services_by_name["AnalysisService"].full_name,
)


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = CatalogSettings.read()
    configure_logs("catalog", settings.log_level)
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database(settings, "catalog"))
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        analysis = await resources.enter_async_context(
            open_channel(settings.analysis_address, settings.tls)
        )
        store = CatalogStore(database)
        view_counter = ViewCounter(store.tokens, settings.view_flush_seconds)
        watch = TokenWatch(store.changes, database, settings.heartbeat_seconds)
        servicer = CatalogServicer(store, objects, AnalysisClient(analysis), view_counter, watch)
        server = Server(
            settings, names=[NAME], probes={"database": database.probe}, reflected=REFLECTED
        )
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server.grpc)
        await server.run(
            settings.catalog_listen,
            background=[
                Background(view_counter.run),
                Background(watch.run, watch.stop),
                Background(ChangeReaper(store.changes).run),
            ],
        )


if __name__ == "__main__":
    asyncio.run(main())
