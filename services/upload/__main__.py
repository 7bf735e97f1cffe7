"""Run the upload service: `python -m services.upload`."""

from __future__ import annotations

import asyncio

from services.runtime.channels import open_channel
from services.runtime.logs import configure_logs
from services.runtime.objects import ObjectStore
from services.runtime.server import Background, Server
from services.upload.assets import AssetIntake
from services.upload.cleaning import CleanUps
from services.upload.intake import Intake
from services.upload.peers import Analysis, Catalog
from services.upload.servicer import UploadServicer
from services.upload.settings import UploadSettings
from sori.upload.v1 import upload_pb2, upload_pb2_grpc

NAME = upload_pb2.DESCRIPTOR.services_by_name["UploadService"].full_name


async def main() -> None:
    """Serve until told to stop."""
    settings = UploadSettings.read()
    configure_logs("upload", settings.log_level)
    async with (
        ObjectStore.connect(settings) as objects,
        open_channel(settings.catalog_address) as catalog,
        open_channel(settings.analysis_address) as analysis,
    ):
        tokens = Catalog(catalog)
        clean_ups = CleanUps()
        intake = Intake(
            tokens, Analysis(analysis), objects, clean_ups, settings.max_recording_bytes
        )
        assets = AssetIntake(tokens, objects, clean_ups, settings.max_asset_bytes)
        server = Server(settings, names=[NAME], probes={"object store": objects.probe})
        upload_pb2_grpc.add_UploadServiceServicer_to_server(
            UploadServicer(intake, assets), server.grpc
        )
        await server.run(settings.upload_listen, [Background(tokens.run)])
        await clean_ups.drain()


if __name__ == "__main__":
    asyncio.run(main())
