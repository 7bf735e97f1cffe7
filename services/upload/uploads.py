"""Resumable uploads: each continues where it stopped, at any replica.

gRPC and tus both come through here; one-shot uploads are in `one_shot.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

from services.runtime.callers import Caller
from services.runtime.errors import SoriError
from services.runtime.ids import random_uuid7
from services.upload.checksums import Checksum
from services.upload.clients import CatalogClient
from services.upload.concatenation import completed, content_of
from services.upload.errors import (
    UPLOAD_CANCELLED,
    SizeMismatch,
    UploadEnded,
    UploadNotFound,
)
from services.upload.models import (
    ONE_SHOT_LIFETIME,
    Kind,
    Plan,
    Upload,
    UploadRecord,
    ended_error,
    new_picture_key,
    part_bytes_for,
    recording_key,
    require_concatenable,
    require_offset,
)
from services.upload.session import PartialData, SessionResources, open_session
from services.upload.state import Event, State, next_state
from services.upload.store import MayUse
from services.upload.stream import Content, Finish

_MAX_OFFSET = 2**62


class Uploads:
    """The uploads that continue over several connections."""

    def __init__(
        self,
        resources: SessionResources,
        catalog: CatalogClient,
        lifetime: timedelta,
        *,
        guests: bool,
    ) -> None:
        """lifetime: an upload expires without a heartbeat for it. guests: whether admitted."""
        self._resources = resources
        self._store = resources.store
        self._catalog = catalog
        self._lifetime = lifetime
        self._guests = guests
        self._limits = resources.limits
        self.limit_bytes = resources.limits.recording_bytes

    async def create(self, plan: Plan) -> Upload:
        """Create an upload, or find the one that the same request created before.

        Errors: TokenNotFound, those of `Limits.require_size`, RequestIdReused,
        TooManyOpenUploads, DailyBytesExceeded, those of the clients, DatabaseUnavailable.
        """
        record, _ = await self._create(plan)
        return record.upload

    async def get(self, upload_id: UUID, caller: Caller) -> Upload:
        """An upload in any state, if the caller may use it.

        Errors: UploadNotFound, DatabaseUnavailable.
        """
        return (await self._record(upload_id, caller)).upload

    async def write(
        self,
        upload_id: UUID,
        caller: Caller,
        offset: int,
        content: Content,
        *,
        exactly: bool = False,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """Write bytes of an upload; the received bytes stay, however the stream ends.

        offset: where the first byte belongs.
        content: ends with `Finish` to complete the upload. Without it the upload stays
            open, unless it ends at its declared size and reaches that.
        exactly: refuse bytes before the committed size instead of skipping them.
        size: of the file, if it was unknown until now.
        checksum: of these bytes; if it differs, none of them stays.
        Errors: UploadNotFound, UploadEnded, UploadOffsetAhead, UploadOffsetBehind (exactly),
        UploadSuperseded, UploadIdle, ChunkChecksumMismatch, SizeMismatch,
        DailyBytesExceeded, RecordingTooLarge, those about the recording, StorageUnavailable.
        """
        record = await self._acquire(upload_id, caller, offset, exactly, size)
        if record is not None:
            partial_data = PartialData.KEEP if checksum is None else PartialData.VERIFY
            skip = record.progress.size - offset
            async with open_session(self._resources, record, partial_data) as session:
                finish = await session.receive(content, skip=skip, checksum=checksum)
                if finish is None and not session.is_complete:
                    await session.checkpoint()
                else:
                    await session.complete(finish or Finish())
        return await self._found(upload_id)

    async def complete(self, record: UploadRecord) -> None:
        """Complete an upload whose bytes are all durable and whose writer is gone.

        Errors: those of `write`.
        """
        async with open_session(self._resources, record, PartialData.KEEP) as session:
            await session.complete(Finish())

    async def cancel(self, upload_id: UUID, caller: Caller) -> Upload:
        """End an upload and its job. Errors: UploadNotFound, UploadEnded."""
        record = await self._store.take_over(upload_id, may_use=self._may_use(caller))
        if record is None:
            raise UploadNotFound(upload_id=upload_id)
        if next_state(record.upload.state, Event.CANCELLED) is not None:
            await self._resources.completion.end(record, Event.CANCELLED, UPLOAD_CANCELLED)
        upload = await self._found(upload_id)
        if upload.state is not State.CANCELLED:
            raise ended_error(upload)
        return upload

    async def terminate(self, upload_id: UUID, caller: Caller) -> None:
        """Cancel an upload, or forget a completed one: its job and its recording stay.

        Errors: UploadNotFound, UploadEnded when it has ended in another way.
        """
        try:
            await self.cancel(upload_id, caller)
        except UploadEnded:
            if not await self._store.forget(upload_id):
                raise

    async def concatenate(self, plan: Plan, caller: Caller, upload_ids: Sequence[UUID]) -> Upload:
        """Make one recording of complete partial uploads, in this order.

        A repeated request waits for the recording of the first one.
        Errors: those of `create`; UploadNotFound, UploadEnded, UploadIncomplete when a
        partial upload, or the recording of the first request, is not complete; those about
        the recording.
        """
        partials = [await self._record(each, caller) for each in upload_ids]
        for each in partials:
            require_concatenable(each.upload)
        size = sum(each.upload.committed_size for each in partials)
        record, is_new = await self._create(replace(plan, size=size, resumable=False))
        if is_new:
            async with (
                open_session(self._resources, record, PartialData.DISCARD) as session,
                aclosing(content_of(self._resources.objects, partials)) as content,
            ):
                await session.complete(await session.receive(content) or Finish())
        return await completed(self._found, record.upload.upload_id)

    async def _create(self, plan: Plan) -> tuple[UploadRecord, bool]:
        """Create an upload; also whether it is new: an earlier request may have created it."""
        if plan.size is not None:
            self._limits.require_size(plan.kind, plan.size)
        await self._resources.client_limits.admit(plan.client, plan.size or 0)
        # A client that knows the id may write and delete the upload.
        upload_id = uuid4()
        if plan.kind in (Kind.PARTIAL, Kind.PICTURE):
            is_picture = plan.kind is Kind.PICTURE
            key = new_picture_key(plan.owner_id) if is_picture else f"partials/{upload_id}"
            record = await self._insert(plan, upload_id, key)
            return record, record.upload.upload_id == upload_id
        revision = await self._catalog.token_revision(plan.token_id)
        job_id = random_uuid7()
        key = recording_key(plan.token_id, job_id)
        record = await self._insert(plan, upload_id, key, revision, job_id)
        is_new = record.upload.upload_id == upload_id
        try:
            # Repeated for an earlier upload too: its request may have failed here.
            await self._resources.completion.created(record)
        except SoriError:
            if is_new:
                await self._store.delete(upload_id)
            raise
        return record, is_new

    async def _insert(
        self,
        plan: Plan,
        upload_id: UUID,
        object_key: str,
        token_revision: int = 0,
        job_id: UUID | None = None,
    ) -> UploadRecord:
        return await self._store.create(
            plan,
            self._lifetime if plan.resumable else ONE_SHOT_LIFETIME,
            upload_id=upload_id,
            object_key=object_key,
            part_bytes=part_bytes_for(plan.size or self._limits.bytes_of(plan.kind)),
            token_revision=token_revision,
            job_id=job_id,
        )

    async def _acquire(
        self, upload_id: UUID, caller: Caller, offset: int, exactly: bool, size: int | None
    ) -> UploadRecord | None:
        """Become the writer; None when the upload is completed and has all these bytes."""
        if size:
            # The limit of recordings is the greatest; `receive` checks that of the kind.
            self._limits.require_size(Kind.RECORDING, size)
        last = offset if exactly else _MAX_OFFSET
        if size is not None:
            last = min(last, size)
        may_use = self._may_use(caller)
        record = await self._store.acquire(upload_id, offset, last, size, may_use=may_use)
        if record is None:
            upload = await self.get(upload_id, caller)
            require_offset(upload, offset, exactly)
            if size is not None and upload.committed_size > size:
                raise SizeMismatch(received_bytes=upload.committed_size, declared_bytes=size)
            if upload.state is not State.COMPLETED:
                raise ended_error(upload)
            return None
        # The acquisition has saved the size if none was declared before.
        if size is not None and record.plan.size not in (None, size):
            raise SizeMismatch(received_bytes=size, declared_bytes=record.plan.size)
        return record

    async def _found(self, upload_id: UUID) -> Upload:
        """An upload that the caller may use; its owner may have changed meanwhile."""
        return (await self._store.get(upload_id, for_client=True)).upload

    async def _record(self, upload_id: UUID, caller: Caller) -> UploadRecord:
        return await self._store.get(upload_id, for_client=True, may_use=self._may_use(caller))

    def _may_use(self, caller: Caller) -> MayUse:
        return partial(caller.may_use, guests=self._guests)
