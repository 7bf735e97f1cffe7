"""Writing one file to S3 as it comes: a recording or a reference asset.

One of one part or less is one object put; a longer one is a multipart
upload whose parts go out while the next is being filled. At most two parts are
in memory, whatever its size.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from services.runtime.errors import (
    ChecksumMismatch,
    EmptyRecording,
    IncompleteUpload,
    RecordingTooLarge,
    SizeMismatch,
)
from services.runtime.objects import ObjectStore, UploadedPart
from services.upload.container import SNIFFED_BYTES, audio_type
from services.upload.stream import Item, Whole

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as a part other than the last."""


@dataclass(frozen=True)
class StoredObject:
    """A file that is whole and durable. size: bytes; sha256: 32 bytes."""

    object_key: str
    size: int
    content_type: str
    sha256: bytes


class ObjectWriter:
    """Writes one file; use `write_all`, and `abort` and `delete` when it fails."""

    def __init__(
        self,
        objects: ObjectStore,
        object_key: str,
        limit_bytes: int,
        type_of: Callable[[bytes], str] = audio_type,
    ) -> None:
        """Prepare to write; `type_of` tells or refuses the media type by the first bytes."""
        self._objects = objects
        self._type_of = type_of
        self._key = object_key
        self._limit_bytes = limit_bytes
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._filling = bytearray()
        self._content_type: str | None = None
        self._upload: asyncio.Task[str] | None = None
        self._in_flight: asyncio.Task[UploadedPart] | None = None
        self._parts: list[UploadedPart] = []
        self._storing: asyncio.Task[None] | None = None

    async def write_all(self, items: AsyncIterator[Item]) -> StoredObject:
        """Write what comes, and finish when it is said to be whole.

        Errors: IncompleteUpload, RecordingTooLarge, EmptyRecording, SizeMismatch,
        ChecksumMismatch, those of `type_of`, StorageUnavailable.
        """
        async for item in items:
            if isinstance(item, Whole):
                return await self._finish(item)
            if isinstance(item, bytes):
                await self._write(item)
        raise IncompleteUpload

    async def _write(self, piece: bytes) -> None:
        """Take the next bytes.

        Errors: RecordingTooLarge, those of `type_of`, StorageUnavailable.
        """
        self._size += len(piece)
        if self._size > self._limit_bytes:
            raise RecordingTooLarge(limit_bytes=self._limit_bytes)
        self._sha256.update(piece)
        self._filling += piece
        if self._content_type is None and len(self._filling) >= SNIFFED_BYTES:
            self._sniff()
        while len(self._filling) >= PART_BYTES:
            await self._send_part(PART_BYTES)

    async def _finish(self, whole: Whole) -> StoredObject:
        """Make what was written an object.

        Errors: EmptyRecording, SizeMismatch, ChecksumMismatch, those of `type_of`,
        StorageUnavailable.
        """
        self._check(whole)
        content_type = self._content_type or self._sniff()
        self._storing = asyncio.create_task(self._store(content_type))
        # Shielded, like all that changes S3: a cancelled call must still undo it.
        await asyncio.shield(self._storing)
        return StoredObject(self._key, self._size, content_type, self._sha256.digest())

    async def abort(self) -> None:
        """Stop, and drop the parts sent so far. Errors: StorageUnavailable."""
        # What arrives after the abort would stay for ever.
        under_way = [task for task in (self._storing, self._in_flight) if task is not None]
        if under_way:
            await asyncio.wait(under_way)
        if self._upload is not None:
            await self._objects.abort_multipart(self._key, await self._upload)

    async def delete(self) -> None:
        """Delete the object, if there may be one. Errors: StorageUnavailable."""
        if self._storing is not None:
            await self._objects.delete(self._key)

    def _sniff(self) -> str:
        self._content_type = self._type_of(bytes(self._filling[:SNIFFED_BYTES]))
        return self._content_type

    def _check(self, whole: Whole) -> None:
        if not self._size:
            raise EmptyRecording
        if whole.size is not None and whole.size != self._size:
            raise SizeMismatch(received_bytes=self._size, declared_bytes=whole.size)
        if whole.sha256 is not None and whole.sha256 != self._sha256.digest():
            raise ChecksumMismatch(received_sha256=self._sha256.hexdigest())

    async def _store(self, content_type: str) -> None:
        if self._upload is None:
            await self._objects.put(self._key, self._filling, content_type)
            return
        if self._filling:
            await self._send_part(len(self._filling))
        await self._part_arrived()
        await self._objects.finish_multipart(self._key, await self._upload, self._parts)
        self._upload = None

    async def _send_part(self, size: int) -> None:
        if self._upload is None:
            content_type = self._content_type or self._sniff()
            self._upload = asyncio.create_task(
                self._objects.start_multipart(self._key, content_type)
            )
        upload_id = await asyncio.shield(self._upload)
        part, self._filling = self._filling[:size], self._filling[size:]
        await self._part_arrived()
        number = len(self._parts) + 1
        self._in_flight = asyncio.create_task(
            self._objects.put_part(self._key, upload_id, number, part)
        )

    async def _part_arrived(self) -> None:
        if self._in_flight is not None:
            self._parts.append(await asyncio.shield(self._in_flight))
            self._in_flight = None
