"""When a take gets its job and its row: only if it is slow, or larger than a part.

A take that arrives sooner needs neither: `submission.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from services.upload.clients import AnalysisClient, EarlierRecording
from services.upload.models import UploadRecord
from services.upload.session import SessionResources

OnJob = Callable[[UUID], Awaitable[None]]
"""Receives the id of the job, once."""


class TakeOpening:
    """Opens the job and the row of one take, at most once and never only in part.

    earlier: the recording of an earlier request with the same id; then nothing was opened.
    is_open: there is a job, and maybe a row, which the session ends if it fails.
    """

    def __init__(
        self,
        record: UploadRecord,
        request_id: str,
        resources: SessionResources,
        analysis: AnalysisClient,
        *,
        on_open: Callable[[], None],
        on_job: OnJob,
    ) -> None:
        """on_open: called when the row is about to count as an open upload of its client."""
        self._record = record
        self._request_id = request_id
        self._store = resources.store
        self._analysis = analysis
        self._client_limits = resources.client_limits
        self._on_open = on_open
        self._on_job = on_job
        self._task: asyncio.Task[None] | None = None
        self.earlier: EarlierRecording | None = None
        self.is_open = False

    @property
    def has_started(self) -> bool:
        """Whether the take is being opened, or was."""
        return self._task is not None

    @property
    def has_ended(self) -> bool:
        """Whether the attempt is over, successful or not."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Open in the background, unless that has started."""
        if self._task is None:
            self._task = asyncio.create_task(self._open())

    async def finish(self) -> None:
        """Open, or wait until that has ended, even if the caller is cancelled meanwhile.

        Errors: TooManyOpenUploads, DailyBytesExceeded, RequestIdReused, AnalysisUnavailable,
        DatabaseUnavailable.
        """
        self.start()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def settled(self) -> None:
        """Wait until the attempt has ended, if there is one; ignores its errors."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _open(self) -> None:
        record, upload = self._record, self._record.upload
        self._on_open()
        await self._client_limits.admit(record.plan.client)
        self.earlier = await self._analysis.open_job(
            record.job_id,
            record.plan.token_id,
            self._request_id,
            owner_id=record.plan.owner_id,
        )
        if self.earlier is not None:
            await self._on_job(self.earlier.job_id)
            return
        self.is_open = True
        await self._store.create(
            record.plan,
            record.lifetime,
            upload_id=upload.upload_id,
            object_key=record.object_key,
            part_bytes=record.part_bytes,
            token_revision=record.token_revision,
            job_id=record.job_id,
        )
        await self._on_job(record.job_id)
