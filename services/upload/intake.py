"""Taking in one recording at once: from its first byte to a durable job.

The caller is answered only after the job holds the recording. Until then any
failure, also a cancelled call, leaves nothing in S3 and a failed job.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from services.runtime.shared_errors import RequestIdReused
from services.upload.clients import AnalysisClient, Attached, CatalogClient
from services.upload.engine import Uploads, recording_key
from services.upload.errors import IncompleteUpload, RecordingTooLarge
from services.upload.stream import Content, Item, Start, Whole, content_of
from services.upload.uploads import Kind, Plan

Opened = Callable[[UUID], Awaitable[None]]
"""Told the job's id as soon as there is one."""


class Intake:
    """Takes in recordings."""

    def __init__(self, catalog: CatalogClient, analysis: AnalysisClient, uploads: Uploads) -> None:
        self._catalog = catalog
        self._analysis = analysis
        self._uploads = uploads

    async def take(self, items: AsyncIterator[Item], opened: Opened) -> UUID:
        """Take in one recording and return its job's id.

        Errors: those of the stream, of the recording and of the peers.
        """
        first = await anext(items, None)
        if not isinstance(first, Start):
            raise IncompleteUpload
        revision = await self._catalog.token_revision(first.token_id)
        job_id = uuid7()
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        attached = await self._analysis.open(job_id, first.token_id, first.request_id)
        if attached is not None:
            await opened(attached.job_id)
            return await self._repeat(content_of(items), attached)
        plan = Plan(Kind.RECORDING, first.token_id, first.file_name, resumable=False)
        key = recording_key(first.token_id, job_id)
        holding = await self._uploads.begin(plan, key, revision, job_id)
        await opened(job_id)
        await self._uploads.take(holding, content_of(items))
        return job_id

    async def _repeat(self, items: Content, attached: Attached) -> UUID:
        """Check that a repeated request brings the same recording, and answer its job."""
        sha256, size = hashlib.sha256(), 0
        async for item in items:
            if isinstance(item, Whole):
                if sha256.digest() != attached.sha256:
                    raise RequestIdReused
                return attached.job_id
            size += len(item)
            if size > self._uploads.limit_bytes:
                raise RecordingTooLarge(limit_bytes=self._uploads.limit_bytes)
            sha256.update(item)
        raise IncompleteUpload
