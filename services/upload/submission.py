"""How a take that arrives at once reaches analysis: one PUT, then one call.

Nothing else names the object until analysis has it. So a failure before the call, or an
answer that refuses the recording, deletes the object. If it is unknown whether analysis has
it, the object stays: `orphans.py` deletes it later if no job has it.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from services.runtime.errors import StorageUnavailable
from services.runtime.shared_errors import (
    JobEnded,
    RequestIdReused,
    RequestSuperseded,
    TooManyJobs,
)
from services.upload.clients import AnalysisClient, SubmissionUnsupported
from services.upload.models import StoredObject, UploadRecord
from services.upload.session import SessionResources
from services.upload.writer import UploadWriter

_logger = structlog.get_logger(__name__)

_REFUSALS = (RequestIdReused, TooManyJobs, JobEnded, RequestSuperseded, SubmissionUnsupported)
"""The errors after which no job has the recording."""


class Submission:
    """Stores and submits one take, when it is its turn among those of the process."""

    def __init__(
        self,
        record: UploadRecord,
        request_id: str,
        resources: SessionResources,
        analysis: AnalysisClient,
    ) -> None:
        self._record = record
        self._request_id = request_id
        self._objects = resources.objects
        self._analysis = analysis
        self._turns = resources.submissions
        self._submitting: asyncio.Task[UUID] | None = None
        self._is_surplus = False
        """Whether S3 may have an object that no job will have."""

    async def run(self, writer: UploadWriter, stored: StoredObject) -> UUID:
        """Store the bytes that the writer holds, and submit them; returns the job.

        That is another job if an earlier request had the same id and audio.
        Errors: StorageUnavailable, those of `AnalysisClient.submit_recording`.
        """
        async with self._turns:
            self._is_surplus = True
            await writer.store_object(stored.content_type)
            # Once sent, the call takes effect even if the client disconnects.
            self._submitting = asyncio.create_task(self._submit(stored))
            return await asyncio.shield(self._submitting)

    async def clean_up(self) -> None:
        """Wait for a running call; delete the object unless a job has it, or may have it."""
        if self._submitting is not None:
            await asyncio.gather(self._submitting, return_exceptions=True)
        if self._is_surplus:
            try:
                await self._objects.delete(self._record.object_key)
            except StorageUnavailable as error:
                _logger.warning("recording without a job not deleted", reason=error.reason)

    def leave_object(self) -> None:
        """Leave the object to a reaper: S3 does not respond, or the upload has a row now."""
        self._is_surplus = False

    async def _submit(self, stored: StoredObject) -> UUID:
        record, own_id = self._record, self._record.job_id
        self._is_surplus = False
        try:
            job_id = await self._analysis.submit_recording(
                own_id,
                record.plan.token_id,
                stored,
                request_id=self._request_id,
                file_name=record.plan.file_name,
                token_revision=record.token_revision,
                owner_id=record.plan.owner_id,
            )
        except _REFUSALS:
            self._is_surplus = True
            raise
        self._is_surplus = job_id != own_id
        return job_id
