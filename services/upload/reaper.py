"""Completes, expires and sweeps uploads that no session works on.

An upload whose bytes are all durable is completed; an abandoned one expires. S3 is swept
when an upload ends, and once more before its row is deleted, for requests that arrived late.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from services.runtime.errors import SoriError
from services.upload.completion import Completion
from services.upload.errors import UPLOAD_EXPIRED, UPLOAD_TIMED_OUT
from services.upload.models import Kind, UploadRecord
from services.upload.state import OPEN, Event, State
from services.upload.store import UploadStore, WriterStore
from services.upload.uploads import Uploads

BATCH = 20

_logger = structlog.get_logger(__name__)


class UploadReaper:
    """Handles uploads that are due; any number of processes may do so at once."""

    def __init__(
        self,
        store: UploadStore,
        writer_store: WriterStore,
        uploads: Uploads,
        completion: Completion,
    ) -> None:
        self._store = store
        self._writer_store = writer_store
        self._uploads = uploads
        self._completion = completion

    async def reap(self) -> bool:
        """Handle a batch of due uploads; returns whether there may be more.

        Errors: DatabaseUnavailable.
        """
        due = await self._store.claim_due(BATCH)
        await asyncio.gather(*map(self._handle, due))
        return len(due) == BATCH

    async def _handle(self, upload_id: UUID) -> None:
        """Do what one upload needs; a failure is retried when the claim ends."""
        try:
            seen = await self._store.get(upload_id)
            if not _needs_work(seen):
                await self._writer_store.postpone(seen)
                return
            record = await self._store.take_over(upload_id)
            if record is not None:
                await self._reap_one(record)
        except SoriError as error:
            _logger.warning("upload not reaped", upload_id=str(upload_id), reason=error.reason)

    async def _reap_one(self, record: UploadRecord) -> None:
        if record.upload.state not in OPEN:
            await self._sweep(record)
        elif record.is_complete:
            await self._uploads.complete(record)
        elif record.is_expired:
            failure = UPLOAD_EXPIRED if record.plan.resumable else UPLOAD_TIMED_OUT
            await self._completion.end(record, Event.EXPIRED, failure)

    async def _sweep(self, record: UploadRecord) -> None:
        """Delete the objects that an ended upload does not use, and finally its row."""
        is_used = record.upload.state is State.COMPLETED and not (
            # A later concatenation reads a partial upload until it expires.
            record.plan.kind is Kind.PARTIAL and record.is_expired
        )
        await self._completion.sweep(record, include_object=not is_used)
        if record.is_expired:
            await self._store.delete(record.upload.upload_id)
        else:
            await self._writer_store.postpone(record)


def _needs_work(record: UploadRecord) -> bool:
    """Whether the reaper must take the upload over; that would stop a session."""
    return record.upload.state not in OPEN or record.is_complete or record.is_expired
