"""Completion handlers: which service is notified about an upload and receives the object.

`Completion` ends uploads: the handler of the upload's kind first, then the row, then S3.
In this order a crash leaves a row that the reaper finds.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from services.runtime.object_store import ObjectStore
from services.runtime.shared_errors import AnalysisUnavailable
from services.upload.accounts_client import AccountsClient
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.errors import UploadFailure
from services.upload.models import AssetKind, Kind, StoredObject, UploadRecord
from services.upload.state import Event
from services.upload.store import UploadStore, WriterStore

JOB_TIMEOUT_MARGIN = timedelta(minutes=10)
"""How much longer a job waits than its upload lives: the upload reports its own end."""


class CompletionHandler(Protocol):
    """Notifies the service that receives the object of one kind of upload."""

    async def created(self, record: UploadRecord) -> None:
        """Report a new upload; may be repeated. Errors: those of the client."""

    async def heartbeat(self, record: UploadRecord) -> None:
        """Report that the upload continues. Errors: JobEnded, RequestSuperseded."""

    async def complete(self, record: UploadRecord, stored: StoredObject) -> int:
        """Hand the object over; returns the token's revision then, 0 without one. May be repeated.

        Errors: CredentialsMissing, JobEnded, RequestSuperseded, TokenNotFound, those of the client.
        """

    async def release(self, record: UploadRecord, failure: UploadFailure) -> bool:
        """Report that no object will come; True when the service already has and uses it.

        Errors: those of the client.
        """


class RecordingHandler:
    """The analysis service receives recordings."""

    def __init__(self, analysis: AnalysisClient) -> None:
        self._analysis = analysis

    async def created(self, record: UploadRecord) -> None:
        upload = record.upload
        if upload.job_id is not None:
            await self._analysis.open_job(
                upload.job_id,
                record.plan.token_id,
                timeout=_job_timeout(record),
                owner_id=record.plan.owner_id,
            )

    async def heartbeat(self, record: UploadRecord) -> None:
        if record.upload.job_id is not None:
            with suppress(AnalysisUnavailable):
                await self._analysis.start_upload(record.upload.job_id, _job_timeout(record))

    async def complete(self, record: UploadRecord, stored: StoredObject) -> int:
        revision = record.token_revision
        if record.upload.job_id is not None:
            await self._analysis.attach_recording(
                record.upload.job_id, stored, record.plan.file_name, revision
            )
        return revision

    async def release(self, record: UploadRecord, failure: UploadFailure) -> bool:
        if record.upload.job_id is None:
            return False
        return not await self._analysis.fail_upload(record.upload.job_id, failure)


class AssetHandler:
    """The catalog receives reference assets."""

    def __init__(self, catalog: CatalogClient) -> None:
        self._catalog = catalog

    async def created(self, record: UploadRecord) -> None:
        return

    async def heartbeat(self, record: UploadRecord) -> None:
        return

    async def complete(self, record: UploadRecord, stored: StoredObject) -> int:
        kind = AssetKind(record.plan.asset_kind or "")
        return await self._catalog.set_asset(record.plan.token_id, kind, stored.object_key)

    async def release(self, record: UploadRecord, failure: UploadFailure) -> bool:
        kind = AssetKind(record.plan.asset_kind or "")
        return await self._catalog.has_asset(record.plan.token_id, kind, record.object_key)


class PictureHandler:
    """The accounts service receives pictures."""

    def __init__(self, accounts: AccountsClient) -> None:
        self._accounts = accounts

    async def created(self, record: UploadRecord) -> None:
        return

    async def heartbeat(self, record: UploadRecord) -> None:
        return

    async def complete(self, record: UploadRecord, stored: StoredObject) -> int:
        await self._accounts.set_picture(record.plan.owner_id, stored)
        return 0

    async def release(self, record: UploadRecord, failure: UploadFailure) -> bool:
        return await self._accounts.release_picture(record.plan.owner_id, record.object_key)


class PartialUploadHandler:
    """No service receives a partial upload: a later concatenation reads it."""

    async def created(self, record: UploadRecord) -> None:
        return

    async def heartbeat(self, record: UploadRecord) -> None:
        return

    async def complete(self, record: UploadRecord, stored: StoredObject) -> int:
        return 0

    async def release(self, record: UploadRecord, failure: UploadFailure) -> bool:
        return False


class Completion:
    """Hands uploads over, and ends them."""

    def __init__(
        self,
        store: UploadStore,
        writer_store: WriterStore,
        objects: ObjectStore,
        catalog: CatalogClient,
        analysis: AnalysisClient,
        accounts: AccountsClient,
        kept_for: timedelta,
    ) -> None:
        """kept_for: how long clients can ask about an upload after it has ended."""
        self._store = store
        self._writer_store = writer_store
        self._objects = objects
        self._kept_for = kept_for
        self._handlers: dict[Kind, CompletionHandler] = {
            Kind.RECORDING: RecordingHandler(analysis),
            Kind.ASSET: AssetHandler(catalog),
            Kind.PICTURE: PictureHandler(accounts),
            Kind.PARTIAL: PartialUploadHandler(),
        }

    async def created(self, record: UploadRecord) -> None:
        """Report a new upload to its receiving service. Errors: those of the client."""
        await self._handlers[record.plan.kind].created(record)

    async def heartbeat(self, record: UploadRecord) -> None:
        """Report that an upload continues. Errors: JobEnded, RequestSuperseded."""
        await self._handlers[record.plan.kind].heartbeat(record)

    async def hand_over(
        self, record: UploadRecord, stored: StoredObject, *, leaves_objects: bool = False
    ) -> int:
        """Give the receiving service the object; returns the token's revision then.

        leaves_objects: S3 has tail objects of the upload, so its row stays for the reaper.
        Errors: those of `CompletionHandler.complete`, DatabaseUnavailable.
        """
        revision = await self._handlers[record.plan.kind].complete(record, stored)
        if record.plan.is_kept or leaves_objects:
            await self._writer_store.end(record, Event.HANDED_OVER, self._kept_for)
        else:
            await self._store.delete(record.upload.upload_id)
        return revision

    async def end(
        self, record: UploadRecord, event: Event, failure: UploadFailure, *, sweep: bool = True
    ) -> None:
        """End an upload that accepts no more bytes, unless its object is already in use.

        event: FAILED, CANCELLED or EXPIRED. sweep: whether to delete its objects now, not
        later by the reaper.
        Errors: those of the clients, StorageUnavailable, DatabaseUnavailable.
        """
        if await self._handlers[record.plan.kind].release(record, failure):
            await self._writer_store.end(record, Event.HANDED_OVER, self._kept_for)
            return
        reason = failure.reason if event is Event.FAILED else ""
        if await self._writer_store.end(record, event, self._kept_for, reason) and sweep:
            await self.sweep(record)

    async def sweep(self, record: UploadRecord, *, include_object: bool = True) -> None:
        """Delete what S3 has of an upload. Errors: StorageUnavailable."""
        await self._objects.abort_multiparts(record.object_key)
        await self._objects.delete_all(record.tail_prefix)
        if include_object:
            await self._objects.delete(record.object_key)


def _job_timeout(record: UploadRecord) -> timedelta | None:
    """How long its job waits for a heartbeat; None for the default of analysis."""
    return record.lifetime + JOB_TIMEOUT_MARGIN if record.plan.resumable else None
