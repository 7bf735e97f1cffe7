"""Writing the bytes of one upload to S3 as they come over one connection.

Full parts of a multipart upload go out while the next is being filled. What is left
when the connection ends, or when memory is short, goes to objects of its own, the
tail, which is read back when it fills a part. So everything that was received can be
durable, and a small file that comes at once is one object put.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from uuid_utils.compat import uuid7

from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectMissing, ObjectStore, UploadedPart
from services.upload.errors import (
    ChecksumMismatch,
    EmptyRecording,
    RecordingTooLarge,
    SizeMismatch,
    UploadLost,
    UploadSuperseded,
)
from services.upload.media_type import Head
from services.upload.memory_budget import MemoryBudget
from services.upload.sha256 import Sha256
from services.upload.store import UploadStore
from services.upload.stream import Whole
from services.upload.uploads import Holding, Progress, TailObject

UNCOUNTED_BYTES = 64 * 1024
"""What each upload may hold beside the budget: thousands of slow ones hold little more."""

STEP_BYTES = 1024**2
"""What is borrowed of the budget at once, at least."""

MAX_TAIL_OBJECTS = 64
"""More are put together into one."""

T = TypeVar("T")

_TAIL_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class StoredObject:
    """A file that is whole and durable. size: bytes; sha256: 32 bytes."""

    object_key: str
    size: int
    content_type: str
    sha256: bytes


class UploadWriter:
    """Writes one upload. After an error only `keep` and `close` make sense."""

    def __init__(
        self,
        holding: Holding,
        store: UploadStore,
        objects: ObjectStore,
        budget: MemoryBudget,
        head: Head,
        limit_bytes: int,
        *,
        commits: bool,
    ) -> None:
        """Prepare to write.

        head: looks at the first bytes. limit_bytes: the largest whole.
        commits: each part is kept as soon as it is durable; otherwise nothing is
            before `keep`, or before this is set.
        """
        self._holding = holding
        self._store = store
        self._objects = objects
        self._budget = budget
        self._head = head
        self._limit_bytes = limit_bytes
        self.commits = commits
        self._durable = holding.progress
        self._s3_upload_id = holding.s3_upload_id
        self._sha256 = Sha256(holding.progress.hash_state)
        self._content_type = holding.progress.content_type
        self._size = holding.progress.size
        # Of the part that is being filled: what is in S3 already, and what is not.
        self._tail = list(holding.progress.tail)
        self._filling = bytearray()
        self._lent = 0
        self._new_parts: list[UploadedPart] = []
        self._new_tail: list[TailObject] = []
        self._obsolete: list[TailObject] = []
        self._sending: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def size(self) -> int:
        """Bytes received so far, over all connections."""
        return self._size

    @property
    def progress(self) -> Progress:
        """What is durable."""
        return self._durable

    async def recall(self) -> None:
        """Look again at the first bytes, if they came before and were too few."""
        if self._content_type is None:
            for each in self._tail:
                self._content_type = self._head.feed(await self._read(each))

    async def take(self, content: bytes) -> None:
        """Take the next bytes.

        Errors: RecordingTooLarge, SizeMismatch, those about the recording, UploadLost,
        UploadSuperseded, StorageUnavailable.
        """
        self._require_room(len(content))
        if self._content_type is None:
            self._content_type = self._head.feed(content)
        while content:
            room = self._holding.part_bytes - self._tail_size - len(self._filling)
            now, content = content[:room], content[room:]
            await self._borrow(len(now))
            self._sha256.update(now)
            self._filling += now
            self._size += len(now)
            if len(now) == room:
                await self._send_part()

    async def expect(self, size: int) -> None:
        """Have room for a piece like the last, unless it was so small that it is not counted."""
        if size > UNCOUNTED_BYTES:
            room = self._holding.part_bytes - self._tail_size - len(self._filling)
            await self._borrow(min(size, room))

    async def keep(self) -> None:
        """Make everything received durable, and keep it."""
        await self._settled()
        await self._spill()
        await self._sent()
        await self._commit()

    async def drop(self) -> None:
        """Delete what was put into the tail and is not kept."""
        self._obsolete, self._new_tail = self._new_tail, []
        await self._drop_obsolete()

    async def finish(self, whole: Whole) -> StoredObject:
        """Make what was received an object.

        Errors: EmptyRecording, SizeMismatch, ChecksumMismatch, those of `take`.
        """
        self._check(whole)
        if self._content_type is None:
            self._content_type = self._head.settle()
        if self._s3_upload_id is None:
            await self._put_object(self._content_type)
        else:
            await self._complete_multipart(self._s3_upload_id)
        await self._drop_obsolete()
        return StoredObject(
            self._holding.object_key, self._size, self._content_type, self._sha256.digest()
        )

    async def close(self) -> None:
        """Wait for what is under way to S3, and give back the memory."""
        await self._settled()
        self._give_back()

    def _require_room(self, size: int) -> None:
        total, declared = self._size + size, self._holding.upload.plan.size
        if declared is not None and total > declared:
            raise SizeMismatch(received_bytes=total, declared_bytes=declared)
        if total > self._limit_bytes:
            raise RecordingTooLarge(limit_bytes=self._limit_bytes)

    def _check(self, whole: Whole) -> None:
        plan = self._holding.upload.plan
        if not self._size:
            raise EmptyRecording
        for size in (whole.size, plan.size):
            if size is not None and size != self._size:
                raise SizeMismatch(received_bytes=self._size, declared_bytes=size)
        digest = self._sha256.digest()
        for sha256 in (whole.sha256, plan.sha256):
            if sha256 is not None and sha256 != digest:
                raise ChecksumMismatch(received_sha256=digest.hex())

    # Memory.

    async def _borrow(self, size: int) -> None:
        """Have room for so many bytes more; who must wait for it holds nothing."""
        held = len(self._filling) + size
        if held <= max(self._lent, UNCOUNTED_BYTES):
            return
        step = max(held - self._lent, STEP_BYTES)
        if not self._budget.take_now(step):
            await self._spill()
            step = max(size, STEP_BYTES)
            await self._budget.take(step)
        self._lent += step

    def _give_back(self) -> None:
        self._budget.give_back(self._lent)
        self._lent = 0

    # The tail.

    @property
    def _tail_size(self) -> int:
        return sum(each.size for each in self._tail)

    async def _spill(self) -> None:
        """Put what is in memory into the tail."""
        if self._filling:
            await self._uninterrupted(self._put_tail())

    async def _put_tail(self) -> None:
        await self._sent()
        if len(self._tail) >= MAX_TAIL_OBJECTS and self._budget.take_now(self._tail_size):
            await self._put_before()
        key = f"{self._holding.tail_prefix}{uuid7()}"
        await self._objects.put(key, self._filling, _TAIL_TYPE)
        self._new_tail.append(TailObject(key, len(self._filling), zlib.crc32(self._filling)))
        self._tail.append(self._new_tail[-1])
        self._durable = replace(self._all_received(), tail=tuple(self._tail))
        self._filling = bytearray()
        self._give_back()
        if self.commits:
            await self._commit()

    async def _fetch_tail(self) -> None:
        """Have the whole part that is being filled in memory."""
        if not self._budget.take_now(self._tail_size):
            await self._spill()
            await self._budget.take(self._tail_size)
        await self._put_before()

    async def _put_before(self) -> None:
        """Put the tail before what is in memory; memory was borrowed for it."""
        self._lent += self._tail_size
        content = bytearray()
        for each in self._tail:
            content += await self._read(each)
        # At once, so that whoever keeps what is here keeps all of it.
        self._filling = content + self._filling if content else self._filling
        self._obsolete += self._tail
        self._tail = []

    async def _read(self, tail: TailObject) -> bytes:
        try:
            content = b"".join([piece async for piece in self._objects.read(tail.key)])
        except ObjectMissing:
            raise UploadLost from None
        if zlib.crc32(content) != tail.crc:
            raise UploadLost
        return content

    # Parts.

    async def _send_part(self) -> None:
        """Send the part that is filled; at most one is on its way."""
        await self._sent()
        await self._fetch_tail()
        if self._s3_upload_id is None:
            await self._uninterrupted(self._start_multipart())
        number = await self._store.next_part(self._holding)
        if number is None:
            raise UploadSuperseded
        received = replace(self._all_received(), tail=())
        content, self._filling = self._filling, bytearray()
        lent, self._lent = self._lent, 0
        self._sending = self._task(self._send(number, content, lent, received))

    async def _send(self, number: int, content: bytearray, lent: int, received: Progress) -> None:
        key, upload_id = self._holding.object_key, self._s3_upload_id or ""
        try:
            part = await self._objects.put_part(key, upload_id, number, content)
        except ObjectMissing:
            raise UploadLost from None
        finally:
            self._budget.give_back(lent)
        self._new_parts.append(part)
        self._durable = replace(received, parts=(*self._durable.parts, part))
        if self.commits:
            await self._commit()

    async def _sent(self) -> None:
        """Wait for the part on its way."""
        if self._sending is not None:
            await asyncio.shield(self._sending)
            self._sending = None

    async def _start_multipart(self) -> None:
        if self._content_type is None:
            raise ValueError("a part is larger than the head of a file")
        key = self._holding.object_key
        upload_id = await self._objects.start_multipart(key, self._content_type)
        if not await self._store.note_multipart(self._holding, upload_id):
            await self._objects.abort_multipart(key, upload_id)
            raise UploadSuperseded
        self._s3_upload_id = upload_id

    # The whole.

    async def _put_object(self, content_type: str) -> None:
        if not self._durable.whole:
            await self._fetch_tail()
            await self._uninterrupted(
                self._objects.put(self._holding.object_key, self._filling, content_type)
            )
        await self._whole()

    async def _complete_multipart(self, upload_id: str) -> None:
        if self._tail or self._filling:
            await self._send_part()
        await self._sent()
        await self._whole()
        key = self._holding.object_key
        # What is missing may have been completed before: then its object is there.
        with suppress(ObjectMissing):
            await self._uninterrupted(
                self._objects.finish_multipart(key, upload_id, list(self._durable.parts))
            )
        try:
            if await self._objects.size(key) != self._size:
                raise UploadLost
        except ObjectMissing:
            raise UploadLost from None

    async def _whole(self) -> None:
        self._durable = replace(self._all_received(), tail=(), whole=True)
        if self.commits:
            await self._commit()

    def _all_received(self) -> Progress:
        return replace(
            self._durable,
            size=self._size,
            hash_state=self._sha256.state,
            content_type=self._content_type,
        )

    async def _commit(self) -> None:
        if not await self._store.commit(self._holding, self._durable, self._new_parts):
            await self.drop()
            raise UploadSuperseded
        self._new_parts, self._new_tail = [], []
        await self._drop_obsolete()

    async def _drop_obsolete(self) -> None:
        """Delete what was read back and is kept elsewhere now; what fails is swept later."""
        obsolete, self._obsolete = self._obsolete, []
        with suppress(StorageUnavailable):
            for each in obsolete:
                await self._objects.delete(each.key)

    # What changes S3 must be over before it can be undone, or done again.

    async def _settled(self) -> None:
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _uninterrupted(self, change: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._task(change))

    def _task(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(change)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
