"""The session of a take over a single connection, which starts without a job and a row.

    arrives at once ───▶ one PUT, one SubmitRecording
    fills a part, lasts longer than a second, or finds no memory ───▶ a job and a row,
                                                                      then as any session

The bytes stay where they are when the take changes from the first way to the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from services.runtime.errors import StorageUnavailable
from services.runtime.shared_errors import RequestIdReused
from services.upload.chunks import Chunk
from services.upload.clients import EarlierRecording, SubmissionUnsupported
from services.upload.models import StoredObject, UploadRecord
from services.upload.opening import TakeOpening
from services.upload.session import PartialData, SessionResources, UploadSession
from services.upload.stream import Finish
from services.upload.submission import Submission

OPEN_SECONDS = 1.0
"""A take that lasts longer gets its job, so that it can be watched."""


class TakeSession(UploadSession):
    """The work of one connection on one take; `run_session` runs it."""

    def __init__(
        self,
        resources: SessionResources,
        record: UploadRecord,
        opening: TakeOpening,
        submission: Submission,
    ) -> None:
        super().__init__(resources, record, PartialData.DISCARD)
        self._opening = opening
        self._submission = submission
        self._timer: asyncio.TimerHandle | None = None

    async def append(self, content: Chunk) -> None:
        """Add the next bytes of the file. Errors: as any session's, and of `TakeOpening`."""
        if not self._fits_unopened(len(content)):
            await self._open()
        if self._opening.earlier is None:
            await super().append(content)
        else:
            # A repeated request: its bytes are only compared with the earlier recording.
            self._received.require_room(len(content))
            self._received.inspect(content)
            self._received.add(content)

    async def submit(self, finish: Finish) -> UUID:
        """Give analysis the recording; returns the job that has it.

        Errors: as `complete`, those of `TakeOpening` and of `Submission`; RequestIdReused if
        an earlier request with the same id had another recording.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._opening.has_started:
            return await self._submit_opened(finish)
        content_type, sha256 = self._received.verify(finish)
        size = self._received.size
        stored = StoredObject(self._record.object_key, size, content_type, sha256)
        try:
            return await self._submission.run(self._writer, stored)
        except SubmissionUnsupported:
            return await self._submit_opened(finish)

    async def abort(self, error: BaseException) -> None:
        """End the job and the upload if they were opened; otherwise nothing names the take."""
        await self._opening.settled()
        if self._opening.is_open:
            await super().abort(error)
        elif isinstance(error, StorageUnavailable):
            self._submission.leave_object()

    async def close(self) -> None:
        """Wait for running requests, delete an object that no job has, release the memory."""
        await self._writer.changes_done()
        await self._submission.clean_up()
        await super().close()

    @asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[None]:
        """Open the upload after a while, and then report that it continues."""
        self._timer = asyncio.get_running_loop().call_later(OPEN_SECONDS, self._start_heartbeats)
        try:
            yield
        finally:
            self._timer.cancel()
            await self._stop_heartbeats()

    def _start_heartbeats(self) -> None:
        if not self._opening.has_started:
            # Now, not when the task first runs: `submit` must not miss it.
            self._opening.start()
            super()._start_heartbeats()

    async def _send_heartbeats(self) -> None:
        await self._opening.finish()
        if self._opening.earlier is None:
            await super()._send_heartbeats()

    async def _reserve_next(self, size: int) -> None:
        # A part that the next message fills exactly may be the whole file.
        if self._fits_unopened(min(size, self._writer.room - 1)):
            return
        await self._open()
        if self._opening.earlier is None:
            await super()._reserve_next(size)

    def _fits_unopened(self, size: int) -> bool:
        """Whether more bytes need neither a job nor a row."""
        return not self._opening.has_ended and self._writer.can_buffer(size)

    async def _open(self) -> None:
        self._start_heartbeats()
        await self._opening.finish()

    async def _submit_opened(self, finish: Finish) -> UUID:
        await self._open()
        if self._opening.earlier is not None:
            return self._compare(finish, self._opening.earlier)
        self._submission.leave_object()
        await self.complete(finish)
        return self._record.job_id

    def _compare(self, finish: Finish, earlier: EarlierRecording) -> UUID:
        _, sha256 = self._received.verify(finish)
        if sha256 != earlier.sha256:
            raise RequestIdReused
        return earlier.job_id
