"""Taking in one recording: from its first byte to a durable job.

The caller is answered only after the job holds the recording. Until then any
failure, also a cancelled call, leaves nothing in S3 and a failed job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from services.runtime.errors import AnalysisUnavailable, IncompleteUpload, SoriError
from services.runtime.objects import ObjectStore
from services.upload.peers import Analysis, Catalog
from services.upload.recording import RecordingWriter, StoredRecording
from services.upload.stream import Item, Start, Whole

_logger = structlog.get_logger(__name__)

Opened = Callable[[UUID], Awaitable[None]]
"""Told the job's id as soon as there is one."""


class Intake:
    """Takes in recordings."""

    def __init__(
        self, catalog: Catalog, analysis: Analysis, objects: ObjectStore, limit_bytes: int
    ) -> None:
        self._catalog = catalog
        self._analysis = analysis
        self._objects = objects
        self._limit_bytes = limit_bytes
        self._cleaning: set[asyncio.Task[None]] = set()

    async def take(self, items: AsyncIterator[Item], opened: Opened) -> UUID:
        """Take in one recording and return its job's id.

        Errors: those of the stream, of the recording and of the peers.
        """
        first = await anext(items, None)
        if not isinstance(first, Start):
            raise IncompleteUpload
        await self._catalog.require_token(first.token_id)
        job_id = uuid7()
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        await self._analysis.open(job_id, first.token_id)
        # Of ids only: nothing a client says becomes part of a key.
        key = f"recordings/{first.token_id}/{job_id}"
        writer = RecordingWriter(self._objects, key, self._limit_bytes)
        try:
            await opened(job_id)
            recording = await self._write(items, writer, job_id)
            await self._analysis.attach(job_id, recording, first.file_name)
        except BaseException as error:
            await self._clean_up(job_id, writer, error)
            raise
        return job_id

    async def drain(self) -> None:
        """Wait for clean-ups under way."""
        await asyncio.gather(*self._cleaning, return_exceptions=True)

    async def _write(
        self, items: AsyncIterator[Item], writer: RecordingWriter, job_id: UUID
    ) -> StoredRecording:
        telling = asyncio.create_task(self._tell_started(job_id))
        try:
            async for item in items:
                if isinstance(item, Whole):
                    return await writer.finish(item)
                if isinstance(item, bytes):
                    await writer.write(item)
            raise IncompleteUpload
        finally:
            await telling

    async def _tell_started(self, job_id: UUID) -> None:
        # Only progress: the recording matters more.
        with suppress(AnalysisUnavailable):
            await self._analysis.start_upload(job_id)

    async def _clean_up(self, job_id: UUID, writer: RecordingWriter, error: BaseException) -> None:
        """Clean up to the end, even if the call is cancelled meanwhile."""
        reason = error.reason if isinstance(error, SoriError) else IncompleteUpload.reason
        task = asyncio.create_task(self._discard(job_id, writer, reason))
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        await asyncio.shield(task)

    async def _discard(self, job_id: UUID, writer: RecordingWriter, reason: str) -> None:
        """Remove the recording and fail the job, unless the job has it after all.

        When analysis can't be asked, a whole recording stays: the job may hold it.
        """
        with _as_far_as_possible():
            await writer.abort()
        with _as_far_as_possible():
            if await self._analysis.fail_upload(job_id, reason):
                await writer.delete()


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except SoriError as error:
        _logger.warning("clean-up incomplete", reason=error.reason)
