"""One connection's work on one upload: acquire, append, checkpoint, complete, abort.

One-shot and resumable uploads run through the same session; `PartialData` decides, when
the session is opened, what happens to received bytes when it is interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

import structlog

from services.runtime.errors import SoriError, StorageUnavailable
from services.runtime.object_store import ObjectStore
from services.runtime.shared_errors import JobEnded
from services.upload.checksums import Checksum
from services.upload.chunks import Chunk
from services.upload.cleanup import CleanUpTasks
from services.upload.client_limits import ClientLimits
from services.upload.completion import Completion
from services.upload.errors import (
    ChecksumMismatch,
    ChunkChecksumMismatch,
    IncompleteUpload,
    PictureTooLarge,
    RecordingTooLarge,
    RecordingTooLong,
    SizeMismatch,
    UnsupportedAudio,
    UnsupportedPicture,
    UploadFailure,
    UploadIdle,
    UploadLost,
    UploadSuperseded,
)
from services.upload.memory_budget import MemoryBudget
from services.upload.models import StoredObject, UploadRecord, ended_error
from services.upload.received import Limits, ReceivedBytes
from services.upload.state import OPEN, Event, State
from services.upload.store import UploadStore, WriterStore
from services.upload.stream import Content, Finish
from services.upload.writer import UploadWriter

HEARTBEAT_SECONDS = 30.0
"""How often a session reports that the upload continues."""

FIRST_HEARTBEAT_SECONDS = 1.0
"""How long a checkpoint waits for the first report."""

_FATAL = (
    UnsupportedAudio,
    RecordingTooLong,
    RecordingTooLarge,
    UnsupportedPicture,
    PictureTooLarge,
    ChecksumMismatch,
    JobEnded,
    UploadLost,
)
"""A resumable upload cannot continue after these errors."""

_logger = structlog.get_logger(__name__)


class PartialData(Enum):
    """What becomes of received bytes when a session is interrupted."""

    KEEP = auto()
    """Each part is saved as soon as it is durable; an interruption saves the rest."""
    VERIFY = auto()
    """Nothing is saved before the checksum of the write matches; an interruption drops it."""
    DISCARD = auto()
    """The upload is one-shot: an interruption ends it and leaves nothing."""


@dataclass(frozen=True)
class SessionResources:
    """What all sessions of a process share.

    idle_seconds: how long a stream may send nothing.
    submissions: how many takes are stored and submitted at the same time.
    """

    store: UploadStore
    writer_store: WriterStore
    objects: ObjectStore
    budget: MemoryBudget
    completion: Completion
    clean_ups: CleanUpTasks
    limits: Limits
    client_limits: ClientLimits
    idle_seconds: float
    submissions: asyncio.Semaphore


@dataclass(frozen=True)
class CompletedUpload:
    """An upload whose receiving service has the object; token_revision: with it."""

    stored: StoredObject
    token_revision: int


Session = TypeVar("Session", bound="UploadSession")


@asynccontextmanager
async def open_session(
    resources: SessionResources, record: UploadRecord, partial_data: PartialData
) -> AsyncIterator[UploadSession]:
    """A session on a record that the caller has created or acquired: see `run_session`."""
    async with run_session(resources, UploadSession(resources, record, partial_data)) as session:
        yield session


@asynccontextmanager
async def run_session(resources: SessionResources, session: Session) -> AsyncIterator[Session]:
    """Run a session; an error aborts it.

    Errors: those of the body; UploadEnded instead of UploadSuperseded when the upload has
    ended meanwhile.
    """
    with resources.clean_ups.expected():
        try:
            await session.inspect_tail()
            async with session.heartbeats():
                yield session
        except BaseException as error:
            await resources.clean_ups.run(session.abort(error))
            raise await session.cause_of(error) from None
        finally:
            await resources.clean_ups.run(session.close())


class UploadSession:
    """The work of one connection; `open_session` makes one, and `TakeSession` is for takes."""

    def __init__(
        self, resources: SessionResources, record: UploadRecord, partial_data: PartialData
    ) -> None:
        self._resources = resources
        self._record = record
        self._partial_data = partial_data
        self._received = ReceivedBytes(record, resources.limits)
        self._writer = UploadWriter(
            record,
            self._received,
            resources.writer_store,
            resources.objects,
            resources.budget,
            saves_parts=partial_data is PartialData.KEEP,
        )
        self._heartbeats: asyncio.Task[None] | None = None
        self._is_reported = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes arrived, as far as that shows without a finish message."""
        is_stored = self._record.upload.state is State.STORED
        return is_stored or self._record.plan.is_complete_at(self._received.size)

    async def inspect_tail(self) -> None:
        """Sniff the media type of bytes that arrived before. Errors: those about the recording."""
        await self._writer.inspect_tail()

    async def receive(
        self, content: Content, *, skip: int = 0, checksum: Checksum | None = None
    ) -> Finish | None:
        """Append the content of a stream; returns its finish, None when it states none.

        skip: leading bytes that arrived before. checksum: of all bytes of this stream.
        Errors: UploadIdle, ChunkChecksumMismatch, DailyBytesExceeded, those of the stream and
        of `append`.
        """
        hasher = None if checksum is None else checksum.hasher()
        while isinstance(item := await self._next_of(content), Chunk):
            size = len(item)
            self._resources.client_limits.count(self._record.plan.client, size)
            if hasher is not None:
                hasher.update(item)
            chunk, skip = item[skip:], max(0, skip - size)
            # Each reference would keep the message in memory while the next one is awaited.
            del item
            if chunk:
                await self.append(chunk)
                del chunk
                await self._reserve_next(size)
        if checksum is not None and hasher is not None and hasher.digest() != checksum.digest:
            raise ChunkChecksumMismatch(algorithm=checksum.algorithm)
        return item

    async def append(self, content: Chunk) -> None:
        """Add the next bytes of the file. Errors: those of `UploadWriter.append`."""
        await self._writer.append(content)

    async def checkpoint(self) -> None:
        """Make all received bytes durable, and save that. Errors: as `append`."""
        await self._writer.save()
        # The job shows the upload before the client receives its answer.
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_HEARTBEAT_SECONDS):
                await self._is_reported.wait()

    async def complete(self, finish: Finish) -> CompletedUpload:
        """Make the file an S3 object, and hand it over to its receiving service.

        Errors: EmptyRecording, EmptyPicture, SizeMismatch, ChecksumMismatch, those of `append`
        and of the completion handler.
        """
        content_type, sha256 = self._received.verify(finish)
        await self._writer.store_object(content_type)
        stored = StoredObject(self._record.object_key, self._received.size, content_type, sha256)
        revision = await self._resources.completion.hand_over(
            self._record, stored, leaves_objects=self._writer.leaves_objects
        )
        return CompletedUpload(stored, revision)

    async def abort(self, error: BaseException) -> None:
        """Save, drop or end what was interrupted; the reaper does what fails now."""
        await self._writer.changes_done()
        with _failures_logged():
            if self._partial_data is PartialData.DISCARD:
                failure = error if isinstance(error, SoriError) else IncompleteUpload()
                await self._end(failure, sweep=not isinstance(error, StorageUnavailable))
            elif isinstance(error, _FATAL):
                await self._end(error)
            elif self._writer.is_all_stored:
                # The reaper hands the object over, or the client repeats its finish.
                return
            elif self._partial_data is PartialData.VERIFY or _is_surplus(error):
                await self._writer.discard_unsaved()
            elif not isinstance(error, UploadSuperseded | StorageUnavailable):
                await self._writer.save()

    async def cause_of(self, error: BaseException) -> BaseException:
        """The error to report: a superseded upload may have ended meanwhile."""
        is_superseded = isinstance(error, UploadSuperseded)
        if is_superseded and self._partial_data is not PartialData.DISCARD:
            upload = (await self._resources.store.get(self._record.upload.upload_id)).upload
            if upload.state not in OPEN:
                return ended_error(upload)
        return error

    async def close(self) -> None:
        """Wait for running requests to S3, and release the memory."""
        await self._writer.close()

    @asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[None]:
        """Report in the background that the upload continues; `receive` raises the errors."""
        self._start_heartbeats()
        try:
            yield
        finally:
            await self._stop_heartbeats()

    def _start_heartbeats(self) -> None:
        self._heartbeats = asyncio.create_task(self._send_heartbeats())

    async def _stop_heartbeats(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.gather(self._heartbeats, return_exceptions=True)

    async def _send_heartbeats(self) -> None:
        pause = min(HEARTBEAT_SECONDS, self._record.lifetime.total_seconds() / 4)
        while True:
            await self._resources.completion.heartbeat(self._record)
            self._is_reported.set()
            await asyncio.sleep(pause)
            is_complete = self._record.plan.is_complete_at(self._writer.durable.size)
            if not await self._resources.writer_store.heartbeat(self._record, is_complete):
                raise UploadSuperseded

    async def _reserve_next(self, size: int) -> None:
        """Have memory for a message like the last one before it is read."""
        await self._writer.reserve_next(size)

    async def _next_of(self, content: Content) -> Chunk | Finish | None:
        """The next item; None at the end. Errors: UploadIdle, those of the heartbeats."""
        seconds = self._resources.idle_seconds
        try:
            async with asyncio.timeout(seconds):
                item = await anext(content, None)
        except TimeoutError:
            raise UploadIdle(seconds=round(seconds)) from None
        if self._heartbeats is not None and self._heartbeats.done():
            await self._heartbeats
        return item

    async def _end(self, error: SoriError, *, sweep: bool = True) -> None:
        # Other uploads may use the memory while services and S3 are called.
        await self._writer.close()
        failure = UploadFailure.of(error)
        await self._resources.completion.end(self._record, Event.FAILED, failure, sweep=sweep)


def _is_surplus(error: BaseException) -> bool:
    """Whether more arrived than was declared: then what arrived is not of the file."""
    return isinstance(error, SizeMismatch) and error.is_surplus


@contextmanager
def _failures_logged() -> Iterator[None]:
    try:
        yield
    except SoriError as error:
        _logger.warning("clean-up incomplete", reason=error.reason)
