"""One-shot uploads: recordings and reference assets over a single connection.

The caller is answered only after the receiving service has the object. Until then any
failure, also a cancelled call, leaves nothing in S3 and a failed job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from services.runtime.ids import random_uuid7
from services.runtime.shared_errors import RequestIdReused
from services.upload.clients import AnalysisClient, CatalogClient, EarlierRecording
from services.upload.errors import IncompleteUpload, RecordingTooLarge
from services.upload.models import (
    ONE_SHOT_LIFETIME,
    Kind,
    Plan,
    StoredObject,
    part_bytes_for,
    recording_key,
)
from services.upload.session import (
    CompletedUpload,
    PartialData,
    SessionResources,
    open_session,
)
from services.upload.stream import (
    AssetStart,
    Content,
    Finish,
    IncomingFile,
    RecordingStart,
)

OnJob = Callable[[UUID], Awaitable[None]]
"""Receives the id of the job as soon as there is one."""


@dataclass(frozen=True)
class StoredAsset:
    """A reference asset that its token has, at this revision."""

    token_id: int
    token_revision: int
    stored: StoredObject


class OneShotUploads:
    """Receives whole files."""

    def __init__(
        self, resources: SessionResources, catalog: CatalogClient, analysis: AnalysisClient
    ) -> None:
        self._resources = resources
        self._catalog = catalog
        self._analysis = analysis

    async def upload_recording(self, file: IncomingFile[RecordingStart], on_job: OnJob) -> UUID:
        """Upload one recording and return the id of its job.

        Errors: TooManyOpenUploads, DailyBytesExceeded, those of the stream, of the recording
        and of the clients.
        """
        start = file.start
        await self._resources.client_limits.admit(start.client)
        revision = await self._catalog.token_revision(start.token_id)
        job_id = random_uuid7()
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        earlier = await self._analysis.open_job(job_id, start.token_id, start.request_id)
        if earlier is not None:
            await on_job(earlier.job_id)
            return await self._compare(file.content, earlier)
        plan = Plan(
            Kind.RECORDING,
            start.token_id,
            start.file_name,
            client=start.client,
            resumable=False,
        )
        key = recording_key(start.token_id, job_id)
        await self._upload(plan, key, revision, file.content, job_id, on_job)
        return job_id

    async def upload_asset(self, file: IncomingFile[AssetStart]) -> StoredAsset:
        """Upload one reference asset.

        Errors: as `upload_recording`.
        """
        start = file.start
        await self._resources.client_limits.admit(start.client)
        revision = await self._catalog.token_revision(start.token_id)
        plan = Plan(
            Kind.ASSET,
            start.token_id,
            client=start.client,
            asset_kind=start.kind,
            resumable=False,
        )
        # A new key for each upload: readers of the old asset never read a mixture.
        key = f"references/{start.token_id}/{start.kind}/{uuid4()}"
        completed = await self._upload(plan, key, revision, file.content)
        return StoredAsset(start.token_id, completed.token_revision, completed.stored)

    async def _upload(
        self,
        plan: Plan,
        object_key: str,
        token_revision: int,
        content: Content,
        job_id: UUID | None = None,
        on_job: OnJob | None = None,
    ) -> CompletedUpload:
        record = await self._resources.store.create(
            plan,
            ONE_SHOT_LIFETIME,
            upload_id=uuid4(),
            object_key=object_key,
            part_bytes=part_bytes_for(self._resources.limits.bytes_of(plan)),
            token_revision=token_revision,
            job_id=job_id,
        )
        async with open_session(self._resources, record, PartialData.DISCARD) as session:
            if job_id is not None and on_job is not None:
                await on_job(job_id)
            finish = await session.receive(content)
            if finish is None:
                raise IncompleteUpload
            return await session.complete(finish)

    async def _compare(self, content: Content, earlier: EarlierRecording) -> UUID:
        """Check that a repeated request brings the same recording; returns its job.

        Errors: RequestIdReused, RecordingTooLarge, IncompleteUpload.
        """
        limit_bytes = self._resources.limits.recording_bytes
        sha256, size = hashlib.sha256(), 0
        async for item in content:
            if isinstance(item, Finish):
                if sha256.digest() != earlier.sha256:
                    raise RequestIdReused
                return earlier.job_id
            size += len(item)
            if size > limit_bytes:
                raise RecordingTooLarge(limit_bytes=limit_bytes)
            sha256.update(item)
        raise IncompleteUpload
