"""Run the upload service: `python -m services.upload`."""

from __future__ import annotations

import asyncio

from services.registry import UPLOAD
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.health import Probe
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from services.upload.assets import AssetIntake
from services.upload.cleanup import CleanUpTasks
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.completion import owners_of
from services.upload.engine import Uploads
from services.upload.intake import Intake
from services.upload.reaper import UploadReaper
from services.upload.servicer import UploadServicer
from services.upload.settings import UploadSettings
from services.upload.store import UploadStore
from services.upload.tus_servicer import TusServicer
from sori.upload.v1 import tus_pb2_grpc, upload_pb2_grpc


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = UploadSettings.read()
    configure_logs(UPLOAD.name, settings.log_level)
    async with (
        Database(settings, UPLOAD.name) as database,
        ObjectStore.connect(settings) as objects,
        open_channel(settings.catalog_address, settings.tls) as catalog_channel,
        open_channel(settings.analysis_address, settings.tls) as analysis_channel,
    ):
        catalog, analysis = CatalogClient(catalog_channel), AnalysisClient(analysis_channel)
        store, clean_ups = UploadStore(database), CleanUpTasks()
        owners = owners_of(catalog, analysis)
        uploads = Uploads(settings, store, objects, catalog, owners, clean_ups)
        reaper = UploadReaper(store, uploads, settings.upload_sweep_seconds)
        probes: dict[str, Probe] = {
            "database": SchemaProbe(database, UPLOAD.name),
            "object store": objects.probe,
        }
        server = Server(settings, UPLOAD, probes=probes)
        upload_pb2_grpc.add_UploadServiceServicer_to_server(
            UploadServicer(
                uploads, Intake(catalog, analysis, uploads), AssetIntake(catalog, uploads)
            ),
            server.grpc,
        )
        tus_pb2_grpc.add_TusServiceServicer_to_server(TusServicer(uploads), server.grpc)
        background = [
            Background("token watch", catalog.run),
            Background("upload reaper", reaper.run),
        ]
        await server.run(settings.upload_listen, background)
        await clean_ups.drain()


if __name__ == "__main__":
    asyncio.run(main())
