"""Run the upload service: `python -m services.upload [--processes N]`."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

import services.runtime.quick_start  # noqa: F401 (first, for its effect)
from services.registry import UPLOAD
from services.runtime.allocator import MIB, configure_allocator
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.health import Probe
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.periodic import PeriodicTask
from services.runtime.processes import add_processes_argument, become_parent
from services.runtime.schema import SchemaProbe
from services.runtime.server import Background, Server
from services.upload.accounts_client import AccountsClient
from services.upload.cleanup import CleanUpTasks
from services.upload.client_limits import ClientLimits, Quota
from services.upload.client_store import ClientStore
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.completion import Completion
from services.upload.memory_budget import MemoryBudget
from services.upload.memory_release import INTERVAL_SECONDS, MemoryRelease
from services.upload.one_shot import OneShotUploads
from services.upload.orphans import OrphanReaper
from services.upload.owner_servicer import UploadOwnerServicer
from services.upload.owners import OwnedUploads
from services.upload.reaper import UploadReaper
from services.upload.received import Limits
from services.upload.servicer import UploadServicer
from services.upload.session import SessionResources
from services.upload.settings import UploadSettings
from services.upload.store import OwnerStore, UploadStore, WriterStore
from services.upload.stream import MAX_MESSAGE_BYTES
from services.upload.tus_servicer import TusServicer
from services.upload.uploads import Uploads
from services.upload.wire import DESERIALIZERS
from sori.upload.v1 import tus_pb2_grpc, upload_pb2_grpc


async def main(settings: UploadSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    # Messages of 1 MiB and parts come and go all the time; `MemoryRelease` limits what stays.
    configure_allocator(mapped_bytes=8 * MIB, kept_bytes=64 * MIB)
    configure_logs(UPLOAD.name, settings.log_level)
    async with (
        Database(settings, UPLOAD.name) as database,
        ObjectStore.connect(settings) as objects,
        open_channel(settings.catalog_address, settings.tls) as catalog_channel,
        open_channel(settings.analysis_address, settings.tls) as analysis_channel,
        open_channel(settings.accounts_address, settings.tls) as accounts_channel,
    ):
        catalog, analysis = CatalogClient(catalog_channel), AnalysisClient(analysis_channel)
        accounts = AccountsClient(accounts_channel)
        resources = _session_resources(settings, database, objects, catalog, analysis, accounts)
        uploads = Uploads(resources, catalog, _lifetime(settings), guests=settings.guests_admitted)
        reaper = UploadReaper(
            resources.store, resources.writer_store, uploads, resources.completion
        )
        probes: dict[str, Probe] = {
            "database": SchemaProbe(database, UPLOAD.name),
            "object store": objects.probe,
        }
        server = Server(
            settings,
            UPLOAD,
            probes=probes,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_calls=settings.upload_max_calls,
            deserializers=DESERIALIZERS,
        )
        _add_servicers(
            server,
            uploads,
            OneShotUploads(resources, catalog, analysis),
            OwnedUploads(OwnerStore(database), resources.store, resources.completion),
            guests=_guests(settings),
        )
        memory_release = MemoryRelease(resources.budget)
        releasing = PeriodicTask("memory release", memory_release.run_once, INTERVAL_SECONDS)
        reaping = PeriodicTask("upload reaper", reaper.reap, settings.upload_sweep_seconds)
        await server.run(
            settings.upload_listen,
            [
                Background("token watch", catalog.run),
                Background("client limits", resources.client_limits.run),
                Background(reaping.name, reaping.run),
                *_orphan_reaper(settings, objects, analysis),
                Background(releasing.name, releasing.run),
            ],
        )
        await resources.clean_ups.drain()


def _add_servicers(
    server: Server,
    uploads: Uploads,
    one_shot: OneShotUploads,
    owned: OwnedUploads,
    *,
    guests: timedelta | None,
) -> None:
    upload_pb2_grpc.add_UploadServiceServicer_to_server(
        UploadServicer(uploads, one_shot, guests=guests), server.grpc
    )
    tus_pb2_grpc.add_TusServiceServicer_to_server(TusServicer(uploads, guests=guests), server.grpc)
    upload_pb2_grpc.add_UploadOwnerServiceServicer_to_server(
        UploadOwnerServicer(owned), server.grpc
    )


def _session_resources(
    settings: UploadSettings,
    database: Database,
    objects: ObjectStore,
    catalog: CatalogClient,
    analysis: AnalysisClient,
    accounts: AccountsClient,
) -> SessionResources:
    store, writer_store = UploadStore(database), WriterStore(database)
    return SessionResources(
        store=store,
        writer_store=writer_store,
        objects=objects,
        budget=MemoryBudget(settings.upload_memory_bytes),
        completion=Completion(
            store,
            writer_store,
            objects,
            catalog,
            analysis,
            accounts,
            kept_for=_lifetime(settings),
        ),
        clean_ups=CleanUpTasks(),
        limits=Limits(
            recording_bytes=settings.max_recording_bytes,
            asset_bytes=settings.max_asset_bytes,
            picture_bytes=settings.max_picture_bytes,
            recording_seconds=settings.max_recording_seconds,
        ),
        client_limits=ClientLimits(
            ClientStore(database),
            address=Quota(settings.client_max_open_uploads, settings.client_max_bytes_per_day),
            account=Quota(settings.account_max_open_uploads, settings.account_max_bytes_per_day),
        ),
        idle_seconds=settings.upload_idle_seconds,
        submissions=asyncio.Semaphore(settings.upload_max_submissions),
    )


def _lifetime(settings: UploadSettings) -> timedelta:
    return timedelta(seconds=settings.upload_expiry_seconds)


def _guests(settings: UploadSettings) -> timedelta | None:
    """How long a new guest exists; None if guests are not admitted."""
    return timedelta(seconds=settings.guest_seconds) if settings.guests_admitted else None


def _orphan_reaper(
    settings: UploadSettings, objects: ObjectStore, analysis: AnalysisClient
) -> list[Background]:
    """The task that deletes recordings without a job, unless it is switched off."""
    if not settings.upload_orphan_sweep_seconds:
        return []
    lookback = timedelta(hours=settings.upload_orphan_lookback_hours)
    reap = OrphanReaper(objects, analysis, lookback).reap
    task = PeriodicTask("orphan reaper", reap, settings.upload_orphan_sweep_seconds)
    return [Background(task.name, task.run)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.upload", description=__doc__)
    add_processes_argument(parser)
    processes, settings = parser.parse_args().processes, UploadSettings.read()
    become_parent(
        processes, UPLOAD.name, settings.log_level, settings.upload_listen, settings.health_listen
    )
    asyncio.run(main(settings))
