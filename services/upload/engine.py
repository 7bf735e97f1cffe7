"""Uploads that survive: each goes on where it stopped, at any replica.

All bytes that the product takes come through here: what comes at once (`take`), and
what comes over several connections (`create`, `write`), whatever protocol carries them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from services.runtime.errors import SoriError, StorageUnavailable
from services.runtime.object_store import ObjectMissing, ObjectStore
from services.runtime.shared_errors import JobEnded
from services.upload.checksums import Checksum
from services.upload.cleanup import CleanUpTasks
from services.upload.clients import CatalogClient
from services.upload.completion import Owner, Owners
from services.upload.errors import (
    ChecksumMismatch,
    ChunkChecksumMismatch,
    EmptyRecording,
    IncompleteUpload,
    RecordingTooLarge,
    RecordingTooLong,
    SizeMismatch,
    UnsupportedAudio,
    UploadLost,
    UploadNotFound,
    UploadSuperseded,
)
from services.upload.media_type import Head, any_type, audio_type, json_type
from services.upload.memory_budget import MemoryBudget
from services.upload.settings import UploadSettings
from services.upload.store import UploadStore
from services.upload.stream import AssetKind, Content, Whole, after, not_idle, until_done
from services.upload.uploads import (
    Holding,
    Kind,
    Plan,
    State,
    Upload,
    ended_error,
    is_surplus,
    part_bytes_for,
    require_offset,
    require_piece,
)
from services.upload.writer import StoredObject, UploadWriter

UNDER_WAY_SECONDS = 30.0
"""How often it is told that an upload is still on its way."""

AT_ONCE_LIFETIME = timedelta(seconds=120)
"""What comes at once and is not heard of for so long comes no more."""

ENDING = (
    UnsupportedAudio,
    RecordingTooLong,
    RecordingTooLarge,
    ChecksumMismatch,
    JobEnded,
    UploadLost,
)
"""After these a resumable upload can't go on."""

_logger = structlog.get_logger(__name__)

_FAR = 2**62


@dataclass(frozen=True)
class Taken:
    """A file that came at once: what is stored, and the token's revision with it."""

    stored: StoredObject
    token_revision: int


class Uploads:
    """The uploads of the product."""

    def __init__(
        self,
        settings: UploadSettings,
        store: UploadStore,
        objects: ObjectStore,
        catalog: CatalogClient,
        owners: Owners,
        clean_ups: CleanUpTasks,
    ) -> None:
        self._settings = settings
        self._store = store
        self._objects = objects
        self._catalog = catalog
        self._owners = owners
        self._clean_ups = clean_ups
        self._budget = MemoryBudget(settings.upload_memory_bytes)
        self._lifetime = timedelta(seconds=settings.upload_expiry_seconds)
        self.limit_bytes = settings.max_recording_bytes

    # Over several connections.

    async def create(self, plan: Plan) -> Upload:
        """Begin an upload, or find the one that this request has begun before.

        Errors: TokenNotFound, RecordingTooLarge, EmptyRecording, RequestIdReused, those
        of the peers, DatabaseUnavailable.
        """
        holding, _ = await self._create(plan)
        return holding.upload

    async def get(self, upload_id: UUID) -> Upload:
        """An upload, wherever it stands. Errors: UploadNotFound, DatabaseUnavailable."""
        return (await self._store.get(upload_id)).upload

    async def write(
        self,
        upload_id: UUID,
        offset: int,
        items: Content,
        *,
        exactly: bool = False,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """Take bytes of an upload; what was received stays, however they end.

        offset: where the first byte belongs.
        items: `Whole` last to end the upload; without it, it stays open, except one that
            ends at its size when that is reached.
        exactly: bytes before the committed size are refused, not skipped over.
        size: the whole's size, where it was not known before.
        checksum: of these bytes; when it differs none of them stays.
        Errors: UploadNotFound, UploadEnded, UploadOffsetAhead, UploadOffsetBehind (exactly),
        UploadSuperseded, UploadIdle, ChunkChecksumMismatch, SizeMismatch,
        RecordingTooLarge, those about the recording, StorageUnavailable.
        """
        holding = await self._open(upload_id, offset, exactly, size)
        if holding is not None:
            with self._clean_ups.expected():
                await self._write(holding, after(items, holding.progress.size - offset), checksum)
        return await self.get(upload_id)

    async def _write(self, holding: Holding, items: Content, checksum: Checksum | None) -> None:
        writer = self._writer(holding, commits=checksum is None)
        try:
            async with self._under_way(holding) as goes_on:
                whole = await self._receive(writer, holding, goes_on(items), checksum)
                writer.commits = True
                if whole is None:
                    await writer.keep()
                else:
                    await self._finish(writer, holding, whole)
        except BaseException as error:
            # Not what could not be verified, nor the beginning of what is too much.
            keeps = checksum is None and not is_surplus(error)
            await self._clean_ups.run(self._interrupted(writer, holding, error, keeps))
            raise await self._why(holding, error) from None
        finally:
            await self._clean_ups.run(writer.close())

    async def finish(self, holding: Holding) -> None:
        """Finish an upload that is whole, in place of a writer who is gone.

        Errors: those of `write`.
        """
        writer = self._writer(holding, commits=True)
        try:
            async with self._under_way(holding):
                await self._finish(writer, holding, Whole())
        except SoriError as error:
            await self._interrupted(writer, holding, error, keeps=True)
            raise
        finally:
            await writer.close()

    async def cancel(self, upload_id: UUID) -> Upload:
        """End an upload and its job. Errors: UploadNotFound, UploadEnded."""
        holding = await self._store.take_over(upload_id)
        if holding is None:
            raise UploadNotFound(upload_id=upload_id)
        if holding.upload.state is State.RECEIVING:
            await self.give_up(holding, State.CANCELLED, "UPLOAD_CANCELLED")
        upload = await self.get(upload_id)
        if upload.state is not State.CANCELLED:
            raise ended_error(upload)
        return upload

    async def concatenate(self, plan: Plan, pieces: Sequence[UUID]) -> Upload:
        """Make one recording of uploads of kind PIECE, in this order.

        Errors: those of `create`; UploadNotFound, UploadEnded, UploadIncomplete when a piece
        is not whole; those about the recording.
        """
        holdings = [await self._store.get(upload_id) for upload_id in pieces]
        for each in holdings:
            require_piece(each.upload)
        size = sum(each.upload.committed_size for each in holdings)
        holding, is_new = await self._create(replace(plan, size=size, resumable=False))
        if is_new:
            await self.take(holding, self._content_of(holdings), keep=True)
        return await self.get(holding.upload.upload_id)

    # At once.

    async def begin(
        self, plan: Plan, object_key: str, token_revision: int, job_id: UUID | None = None
    ) -> Holding:
        """Begin an upload whose owner knows of it.

        object_key: what it becomes; of ids only, nothing a client says is part of it.
        Errors: RequestIdReused, DatabaseUnavailable.
        """
        return await self._store.create(
            plan,
            self._lifetime if plan.resumable else AT_ONCE_LIFETIME,
            upload_id=uuid7(),
            object_key=object_key,
            part_bytes=part_bytes_for(plan.size or self._limit(plan)),
            token_revision=token_revision,
            job_id=job_id,
        )

    async def take(self, holding: Holding, items: Content, *, keep: bool = False) -> Taken:
        """Take the whole of an upload, or nothing of it.

        keep: it can be asked about afterwards.
        Errors: IncompleteUpload, EmptyRecording, SizeMismatch, ChecksumMismatch,
        RecordingTooLarge, those about the file, StorageUnavailable, those of its owner.
        """
        with self._clean_ups.expected():
            return await self._take(holding, items, keep)

    async def _take(self, holding: Holding, items: Content, keep: bool) -> Taken:
        writer = self._writer(holding, commits=False)
        try:
            async with self._under_way(holding) as goes_on:
                whole = await self._receive(writer, holding, goes_on(items), None)
                if whole is None:
                    raise IncompleteUpload
                stored = await writer.finish(whole)
                revision = await self._owner(holding).hand_over(holding, stored)
            if keep:
                await self._store.commit(holding, writer.progress, ())
                await self._store.end(holding, State.COMPLETED, self._lifetime)
            else:
                await self._store.forget(holding.upload.upload_id)
        except BaseException as error:
            await self._clean_ups.run(self._discard(writer, holding, error))
            raise
        finally:
            await self._clean_ups.run(writer.close())
        return Taken(stored, revision)

    # Ends.

    async def give_up(
        self, holding: Holding, state: State, reason: str, *, sweeps: bool = True
    ) -> None:
        """End an upload that takes no more bytes, unless its owner has it after all.

        state: what it becomes. reason: why, in UPPER_SNAKE_CASE. sweeps: whether S3 is
        swept now, not by a caretaker. Its owner is told.
        Errors: those of the peers, StorageUnavailable.
        """
        if await self._owner(holding).release(holding, reason):
            await self._store.end(holding, State.COMPLETED, self._lifetime)
            return
        failure = reason if state is State.FAILED else ""
        if await self._store.end(holding, state, self._lifetime, failure) and sweeps:
            await self.sweep(holding)

    async def sweep(self, holding: Holding, *, whole: bool = True) -> None:
        """Delete what S3 has of an upload; whole: also what it has become."""
        await self._objects.abort_multiparts(holding.object_key)
        await self._objects.delete_all(holding.tail_prefix)
        if whole:
            await self._objects.delete(holding.object_key)

    # Within.

    async def _create(self, plan: Plan) -> tuple[Holding, bool]:
        """Begin an upload; also whether it is new, not one that this request began before."""
        if plan.size == 0:
            raise EmptyRecording
        if plan.size is not None and plan.size > self.limit_bytes:
            raise RecordingTooLarge(limit_bytes=self.limit_bytes)
        if plan.kind is Kind.PIECE:
            key = f"pieces/{uuid7()}"
            holding = await self.begin(plan, key, 0)
            return holding, holding.object_key == key
        revision = await self._catalog.token_revision(plan.token_id)
        job_id = uuid7()
        holding = await self.begin(plan, recording_key(plan.token_id, job_id), revision, job_id)
        is_new = holding.upload.job_id == job_id
        try:
            # Again for one that was begun before: that may have been all that was done.
            await self._owner(holding).begun(holding)
        except SoriError:
            if is_new:
                await self._store.forget(holding.upload.upload_id)
            raise
        return holding, is_new

    async def _open(
        self, upload_id: UUID, offset: int, exactly: bool, size: int | None
    ) -> Holding | None:
        """Become the writer of an upload; None when it is completed and has all of this."""
        if size is not None and size > self.limit_bytes:
            raise RecordingTooLarge(limit_bytes=self.limit_bytes)
        last = offset if exactly else _FAR
        if size is not None:
            last = min(last, size)
        holding = await self._store.open(upload_id, offset, last, size)
        if holding is None:
            upload = await self.get(upload_id)
            require_offset(upload, offset, exactly)
            if size is not None and upload.committed_size > size:
                raise SizeMismatch(received_bytes=upload.committed_size, declared_bytes=size)
            if upload.state is not State.COMPLETED:
                raise ended_error(upload)
            return None
        declared = holding.upload.plan.size
        if size is not None and declared != size:
            raise SizeMismatch(received_bytes=size, declared_bytes=declared or 0)
        return holding

    def _writer(self, holding: Holding, *, commits: bool) -> UploadWriter:
        plan = holding.upload.plan
        seconds = self._settings.max_recording_seconds
        return UploadWriter(
            holding,
            self._store,
            self._objects,
            self._budget,
            Head(_type_of(plan), seconds),
            self._limit(plan),
            commits=commits,
        )

    def _limit(self, plan: Plan) -> int:
        is_asset = plan.kind is Kind.ASSET
        return self._settings.max_asset_bytes if is_asset else self.limit_bytes

    @asynccontextmanager
    async def _under_way(self, holding: Holding) -> AsyncIterator[Callable[[Content], Content]]:
        """Tell that the upload goes on; gives what ends its items when it doesn't."""
        telling = asyncio.create_task(self._tell(holding))
        try:
            yield partial(until_done, telling)
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell(self, holding: Holding) -> None:
        """Tell it again and again. Errors: JobEnded, UploadSuperseded."""
        while True:
            await self._owner(holding).under_way(holding)
            await asyncio.sleep(min(UNDER_WAY_SECONDS, holding.lifetime.total_seconds() / 4))
            if not await self._store.touch(holding):
                raise UploadSuperseded

    async def _receive(
        self, writer: UploadWriter, holding: Holding, items: Content, checksum: Checksum | None
    ) -> Whole | None:
        """Take what comes; returns how it says that it is whole, None when it doesn't."""
        hasher = checksum.hasher() if checksum is not None else None
        whole = None
        await writer.recall()
        async for item in not_idle(items, self._settings.upload_idle_seconds):
            if isinstance(item, Whole):
                whole = item
                break
            if hasher is not None:
                hasher.update(item)
            await writer.take(item)
            # Before it comes: what waits for memory is not even read.
            await writer.expect(len(item))
            del item
        if checksum is not None and hasher is not None and hasher.digest() != checksum.digest:
            raise ChunkChecksumMismatch(algorithm=checksum.algorithm)
        plan = holding.upload.plan
        at_size = plan.ends_at_size and writer.size == plan.size
        return Whole() if at_size else whole

    async def _finish(self, writer: UploadWriter, holding: Holding, whole: Whole) -> None:
        stored = await writer.finish(whole)
        await self._owner(holding).hand_over(holding, stored)
        await self._store.end(holding, State.COMPLETED, self._lifetime)

    async def _interrupted(
        self, writer: UploadWriter, holding: Holding, error: BaseException, keeps: bool
    ) -> None:
        """Keep what was received, or end the upload if it can't go on."""
        with _as_far_as_possible():
            if isinstance(error, ENDING):
                await writer.close()
                await self.give_up(holding, State.FAILED, error.reason)
            elif not keeps:
                await writer.drop()
            elif not isinstance(error, UploadSuperseded | StorageUnavailable):
                await writer.keep()

    async def _discard(self, writer: UploadWriter, holding: Holding, error: BaseException) -> None:
        """Leave nothing of it; what can't be done now a caretaker does later."""
        reason = error.reason if isinstance(error, SoriError) else IncompleteUpload.reason
        sweeps = not isinstance(error, StorageUnavailable)
        await writer.close()
        with _as_far_as_possible():
            await self.give_up(holding, State.FAILED, reason, sweeps=sweeps)

    async def _why(self, holding: Holding, error: BaseException) -> BaseException:
        """Why an upload has stopped: it may have ended meanwhile."""
        if isinstance(error, UploadSuperseded):
            upload = await self.get(holding.upload.upload_id)
            if upload.state is not State.RECEIVING:
                return ended_error(upload)
        return error

    def _owner(self, holding: Holding) -> Owner:
        return self._owners[holding.upload.plan.kind]

    async def _content_of(self, pieces: Sequence[Holding]) -> Content:
        try:
            for each in pieces:
                async for content in self._objects.read(each.object_key):
                    yield content
        except ObjectMissing:
            raise UploadLost from None
        yield Whole()


def recording_key(token_id: int, job_id: UUID) -> str:
    """Where a recording is in S3: of ids only, nothing a client says is part of it."""
    return f"recordings/{token_id}/{job_id}"


def _type_of(plan: Plan) -> Callable[[bytes], str]:
    if plan.kind is Kind.PIECE:
        return any_type
    if plan.asset_kind in (AssetKind.PITCH, AssetKind.ALIGNMENT):
        return partial(json_type, kind=plan.asset_kind)
    return audio_type


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except SoriError as error:
        _logger.warning("clean-up incomplete", reason=error.reason)
