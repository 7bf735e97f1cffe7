"""Run the catalog: `python -m services.catalog [--processes N]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack

import services.runtime.quick_start  # noqa: F401 (first, for its effect)
from services.catalog.clients import AnalysisClient
from services.catalog.reaper import ChangeReaper
from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.registry import CATALOG, SERVICES
from services.runtime.allocator import configure_allocator
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.processes import add_processes_argument, become_parent
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from services.runtime.watch_limit import WatchLimit

# Reflection finds the descriptors of imported modules only.
from sori.accounts.v1 import accounts_pb2  # noqa: F401
from sori.analysis.v1 import analysis_pb2  # noqa: F401
from sori.catalog.v1 import catalog_pb2_grpc
from sori.upload.v1 import tus_pb2, upload_pb2  # noqa: F401

# The gateway has one address for all services, and sends reflection to the catalog.
REFLECTED = [name for service in SERVICES for name in service.public]


async def main(settings: CatalogSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_allocator()
    configure_logs(CATALOG.name, settings.log_level)
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database(settings, CATALOG.name))
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        analysis = await resources.enter_async_context(
            open_channel(settings.analysis_address, settings.tls)
        )
        store = CatalogStore(database)
        view_counter = ViewCounter(store.tokens, settings.view_flush_seconds)
        watch = TokenWatch(store.changes, database, settings.heartbeat_seconds)
        limit = WatchLimit(
            per_client=settings.catalog_max_watches_per_client, total=settings.catalog_max_watches
        )
        servicer = CatalogServicer(
            store,
            objects,
            AnalysisClient(analysis),
            view_counter,
            watch,
            limit,
            settings.catalog_cache_bytes,
        )
        probes = {"database": SchemaProbe(database, CATALOG.name)}
        server = Server(
            settings,
            CATALOG,
            probes=probes,
            reflected=REFLECTED,
            max_calls=settings.catalog_max_calls,
            public_catalog=settings.catalog_public,
        )
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server.grpc)
        await server.run(
            settings.catalog_listen,
            background=[
                Background("view counter", view_counter.run),
                Background("token watch", watch.run, watch.stop),
                Background("change reaper", ChangeReaper(store.changes).run),
            ],
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.catalog", description=__doc__)
    add_processes_argument(parser)
    processes, settings = parser.parse_args().processes, CatalogSettings.read()
    become_parent(
        processes, CATALOG.name, settings.log_level, settings.catalog_listen, settings.health_listen
    )
    asyncio.run(main(settings))
