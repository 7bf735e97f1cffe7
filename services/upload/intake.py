"""Taking in one recording: from its first byte to a durable job.

The caller is answered only after the job holds the recording. Until then any
failure, also a cancelled call, leaves nothing in S3 and a failed job.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from services.runtime.errors import (
    AnalysisUnavailable,
    IncompleteUpload,
    RecordingTooLarge,
    RequestIdReused,
    SoriError,
)
from services.runtime.objects import ObjectStore
from services.upload.cleaning import CleanUps
from services.upload.peers import Analysis, Attached, Catalog
from services.upload.stream import Item, Start, Whole
from services.upload.writer import ObjectWriter, StoredObject

UNDER_WAY_SECONDS = 30.0
"""How often analysis is told that a recording is still on its way."""

_logger = structlog.get_logger(__name__)

Opened = Callable[[UUID], Awaitable[None]]
"""Told the job's id as soon as there is one."""


class Intake:
    """Takes in recordings."""

    def __init__(
        self,
        catalog: Catalog,
        analysis: Analysis,
        objects: ObjectStore,
        clean_ups: CleanUps,
        limit_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._analysis = analysis
        self._objects = objects
        self._clean_ups = clean_ups
        self._limit_bytes = limit_bytes

    async def take(self, items: AsyncIterator[Item], opened: Opened) -> UUID:
        """Take in one recording and return its job's id.

        Errors: those of the stream, of the recording and of the peers.
        """
        first = await anext(items, None)
        if not isinstance(first, Start):
            raise IncompleteUpload
        token_revision = await self._catalog.token_revision(first.token_id)
        job_id = uuid7()
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        attached = await self._analysis.open(job_id, first.token_id, first.request_id)
        if attached is not None:
            await opened(attached.job_id)
            return await self._repeat(items, attached)
        # Of ids only: nothing a client says becomes part of a key.
        key = f"recordings/{first.token_id}/{job_id}"
        writer = ObjectWriter(self._objects, key, self._limit_bytes)
        try:
            await opened(job_id)
            recording = await self._write(items, writer, job_id)
            await self._analysis.attach(job_id, recording, first.file_name, token_revision)
        except BaseException as error:
            reason = error.reason if isinstance(error, SoriError) else IncompleteUpload.reason
            await self._clean_ups.run(self._discard(job_id, writer, reason))
            raise
        return job_id

    async def _repeat(self, items: AsyncIterator[Item], attached: Attached) -> UUID:
        """Check that a repeated request brings the same recording, and answer its job."""
        sha256, size = hashlib.sha256(), 0
        async for item in items:
            if isinstance(item, Whole):
                if sha256.digest() != attached.sha256:
                    raise RequestIdReused
                return attached.job_id
            if isinstance(item, bytes):
                size += len(item)
                if size > self._limit_bytes:
                    raise RecordingTooLarge(limit_bytes=self._limit_bytes)
                sha256.update(item)
        raise IncompleteUpload

    async def _write(
        self, items: AsyncIterator[Item], writer: ObjectWriter, job_id: UUID
    ) -> StoredObject:
        telling = asyncio.create_task(self._tell_under_way(job_id))
        try:
            return await writer.write_all(_until_ended(items, telling))
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell_under_way(self, job_id: UUID) -> None:
        """Tell it again and again, so that the job is not given up.

        Errors: JobEnded, UploadSuperseded.
        """
        while True:
            with suppress(AnalysisUnavailable):
                await self._analysis.start_upload(job_id)
            await asyncio.sleep(UNDER_WAY_SECONDS)

    async def _discard(self, job_id: UUID, writer: ObjectWriter, reason: str) -> None:
        """Remove the recording and fail the job, unless the job has it after all.

        When analysis can't be asked, a whole recording stays: the job may hold it.
        """
        with _as_far_as_possible():
            await writer.abort()
        with _as_far_as_possible():
            if await self._analysis.fail_upload(job_id, reason):
                await writer.delete()


async def _until_ended(
    items: AsyncIterator[Item], telling: asyncio.Task[None]
) -> AsyncIterator[Item]:
    """The items, until there is no job for them any more. Errors: JobEnded, UploadSuperseded."""
    async for item in items:
        if telling.done():
            # Only the end of the job ends it.
            await telling
        yield item


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except SoriError as error:
        _logger.warning("clean-up incomplete", reason=error.reason)
