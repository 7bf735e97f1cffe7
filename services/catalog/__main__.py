"""Run the catalog: `python -m services.catalog`."""

from __future__ import annotations

import asyncio

from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings
from services.catalog.store import CatalogStore
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.objects import ObjectStore
from services.runtime.server import Server
from sori.analysis.v1 import analysis_pb2
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import upload_pb2

NAME = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name

# The gateway has one address for three services and sends reflection here.
REFLECTED = (
    NAME,
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"].full_name,
    analysis_pb2.DESCRIPTOR.services_by_name["AnalysisService"].full_name,
)


async def main() -> None:
    """Serve until told to stop."""
    settings = CatalogSettings.read()
    configure_logs("catalog", settings.log_level)
    async with (
        Database(settings, "catalog") as database,
        ObjectStore.connect(settings) as objects,
    ):
        server = Server(
            settings, names=[NAME], probes={"database": database.probe}, reflected=REFLECTED
        )
        servicer = CatalogServicer(CatalogStore(database), objects)
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server.grpc)
        await server.run(settings.catalog_listen)


if __name__ == "__main__":
    asyncio.run(main())
