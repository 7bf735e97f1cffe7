"""One-shot uploads: recordings, reference assets and pictures over a single connection.

The caller is answered only after the receiving service has the object. Until then any
failure, also a cancelled call, leaves nothing in S3, and a failed job if one was opened.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from services.runtime.ids import random_uuid7
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.errors import IncompleteUpload
from services.upload.models import (
    ONE_SHOT_LIFETIME,
    Kind,
    Plan,
    StoredObject,
    UploadRecord,
    new_picture_key,
    new_record,
    part_bytes_for,
    recording_key,
)
from services.upload.opening import OnJob, TakeOpening
from services.upload.session import (
    CompletedUpload,
    PartialData,
    SessionResources,
    open_session,
    run_session,
)
from services.upload.stream import AssetStart, Content, IncomingFile, PictureStart, RecordingStart
from services.upload.submission import Submission
from services.upload.take_session import TakeSession


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

        on_job: called once: at the start, or for a request with an id when its job is known.
        Errors: TooManyOpenUploads, DailyBytesExceeded, those of the stream, of the recording
        and of the clients.
        """
        start, known_job = file.start, _Once(on_job)
        with ExitStack() as unopened:
            unopened.enter_context(self._resources.client_limits.admit_take(start.client))
            revision = await self._catalog.token_revision(start.token_id)
            record = self._record_of(start, revision)
            job_id = record.job_id
            structlog.contextvars.bind_contextvars(job_id=str(job_id))
            if not start.request_id:
                await known_job(job_id)
            async with self._session(record, start, known_job, unopened.close) as session:
                finish = await session.receive(file.content)
                if finish is None:
                    raise IncompleteUpload
                job_id = await session.submit(finish)
        await known_job(job_id)
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
            owner_id=start.owner_id,
            asset_kind=start.kind,
            resumable=False,
        )
        # A new key for each upload: readers of the old asset never read a mixture.
        key = f"references/{start.token_id}/{start.kind}/{uuid4()}"
        completed = await self._upload(plan, key, file.content, revision)
        return StoredAsset(start.token_id, completed.token_revision, completed.stored)

    async def upload_picture(self, file: IncomingFile[PictureStart]) -> StoredObject:
        """Upload the picture of an account.

        Errors: CredentialsMissing when the account is deleted; as `upload_recording`.
        """
        start = file.start
        await self._resources.client_limits.admit(start.client)
        account_id = str(start.account_id)
        plan = Plan(Kind.PICTURE, client=start.client, owner_id=account_id, resumable=False)
        return (await self._upload(plan, new_picture_key(account_id), file.content)).stored

    async def _upload(
        self, plan: Plan, key: str, content: Content, token_revision: int = 0
    ) -> CompletedUpload:
        """Upload a file that has a row from the start."""
        record = await self._resources.store.create(
            plan,
            ONE_SHOT_LIFETIME,
            upload_id=uuid4(),
            object_key=key,
            part_bytes=part_bytes_for(self._resources.limits.bytes_of(plan.kind)),
            token_revision=token_revision,
        )
        async with open_session(self._resources, record, PartialData.DISCARD) as session:
            finish = await session.receive(content)
            if finish is None:
                raise IncompleteUpload
            return await session.complete(finish)

    def _record_of(self, start: RecordingStart, token_revision: int) -> UploadRecord:
        job_id = random_uuid7()
        plan = Plan(
            Kind.RECORDING,
            start.token_id,
            start.file_name,
            client=start.client,
            owner_id=start.owner_id,
            resumable=False,
        )
        return new_record(
            plan,
            ONE_SHOT_LIFETIME,
            upload_id=uuid4(),
            object_key=recording_key(start.token_id, job_id),
            part_bytes=part_bytes_for(self._resources.limits.recording_bytes),
            token_revision=token_revision,
            job_id=job_id,
        )

    def _session(
        self,
        record: UploadRecord,
        start: RecordingStart,
        on_job: OnJob,
        on_open: Callable[[], None],
    ) -> AbstractAsyncContextManager[TakeSession]:
        resources = self._resources
        opening = TakeOpening(
            record, start.request_id, resources, self._analysis, on_open=on_open, on_job=on_job
        )
        submission = Submission(record, start.request_id, resources, self._analysis)
        return run_session(resources, TakeSession(resources, record, opening, submission))


class _Once:
    """Sends the id of the job to the caller, once."""

    def __init__(self, on_job: OnJob) -> None:
        self._on_job = on_job
        self._is_sent = False

    async def __call__(self, job_id: UUID) -> None:
        if not self._is_sent:
            self._is_sent = True
            await self._on_job(job_id)
