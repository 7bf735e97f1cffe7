"""Moves the bytes of one upload to S3: full parts while they arrive, the rest at the end.

Up to two parts are on their way while the next one fills, if there is memory for them. The
bytes that fill no part go to tail objects when the session ends or memory is short, and are
read back when they fill one.
`checkpoint.py` states how received, durable and saved bytes relate.
"""

from __future__ import annotations

import asyncio
from collections import deque

from services.runtime.object_store import ObjectStore
from services.upload.checkpoint import Checkpoint
from services.upload.chunks import Chunk
from services.upload.memory_budget import MemoryBudget
from services.upload.models import Progress, UploadRecord
from services.upload.multipart import TargetObject
from services.upload.part_buffer import UNCOUNTED_BYTES, FullPart, PartBuffer
from services.upload.received import ReceivedBytes
from services.upload.shielded import ShieldedTasks
from services.upload.state import Event, State
from services.upload.store import WriterStore
from services.upload.tail import MAX_TAIL_OBJECTS, TailStore

MAX_PARTS_IN_FLIGHT = 2
"""While S3 writes one part to its disks, it can receive another."""


class UploadWriter:
    """Writes one upload. After an error only `save`, `discard_unsaved` and `close` are safe."""

    def __init__(
        self,
        record: UploadRecord,
        received: ReceivedBytes,
        store: WriterStore,
        objects: ObjectStore,
        budget: MemoryBudget,
        *,
        saves_parts: bool,
    ) -> None:
        """Continue where the durable bytes end.

        saves_parts: save a checkpoint whenever more bytes are durable, not only when asked.
        """
        self._record = record
        self._received = received
        self._saves_parts = saves_parts
        self._buffer = PartBuffer(record.part_bytes, record.progress.tail, budget)
        self._target = TargetObject(record, store, objects)
        self._tails = TailStore(objects, record.tail_prefix)
        self._checkpoint = Checkpoint(record, store, self._tails)
        self.is_all_stored = record.upload.state is State.STORED
        self._parts_in_flight = deque[asyncio.Task[None]]()
        self._changes = ShieldedTasks()

    @property
    def leaves_objects(self) -> bool:
        """Whether S3 has tail objects that could not be deleted."""
        return self._checkpoint.leaves_objects

    @property
    def durable(self) -> Progress:
        """What S3 has confirmed."""
        return self._checkpoint.durable

    async def inspect_tail(self) -> None:
        """Look again at the first bytes, if too few of them arrived before."""
        if self._received.content_type is None and self._buffer.tail:
            for chunk in await self._tails.read(self._buffer.tail):
                self._received.inspect(chunk)

    async def append(self, content: Chunk) -> None:
        """Add the next bytes of the file.

        Errors: RecordingTooLarge, SizeMismatch, those about the recording, UploadLost,
        UploadSuperseded, StorageUnavailable.
        """
        self._received.require_room(len(content))
        self._received.inspect(content)
        rest = memoryview(content)
        while rest:
            room = self._buffer.room
            fitting, rest = rest[:room], rest[room:]
            await self._reserve(len(fitting))
            self._received.add(fitting)
            self._buffer.append(fitting)
            if not self._buffer.room:
                await self._send_part()

    def can_buffer(self, size: int) -> bool:
        """Whether more bytes fit into memory and do not fill the part; reserves the memory."""
        return size < self._buffer.room and self._buffer.try_reserve(size)

    @property
    def room(self) -> int:
        """Bytes until the part is full; 1 or more."""
        return self._buffer.room

    async def reserve_next(self, size: int) -> None:
        """Reserve memory for a message like the last one, before that is read.

        A stream that waits for memory is not read. Small messages need no memory of the budget.
        """
        if size > UNCOUNTED_BYTES:
            await self._reserve(min(size, self._buffer.room))

    async def save(self) -> None:
        """Make all received bytes durable, and save a checkpoint. Errors: as `append`."""
        await self.changes_done()
        await self._move_to_tail_if_any()
        await self._parts_sent()
        await self._checkpoint.save()

    async def store_object(self, content_type: str) -> None:
        """Make the received bytes the S3 object of the upload. Errors: as `append`."""
        if self._target.is_multipart:
            await self._complete_multipart()
        else:
            await self._put_object(content_type)
        await self._checkpoint.delete_obsolete()

    async def discard_unsaved(self) -> None:
        """Delete the tail objects that no checkpoint names."""
        await self.changes_done()
        await self._checkpoint.discard_unsaved()

    async def changes_done(self) -> None:
        """Wait for running requests to S3: they must end before they can be undone or repeated."""
        await self._changes.done()

    async def close(self) -> None:
        """Wait for running requests to S3, and release the memory."""
        await self.changes_done()
        self._buffer.release()

    async def _reserve(self, size: int) -> None:
        if self._buffer.try_reserve(size):
            return
        # The parts on their way return their memory soon; a tail object costs three requests.
        await self._parts_sent()
        if await self._buffer.reserve_soon(size):
            return
        await self._move_to_tail_if_any()
        await self._buffer.reserve(size)

    async def _move_to_tail_if_any(self) -> None:
        if self._buffer.content:
            await self._changes.run(self._move_to_tail())

    async def _move_to_tail(self) -> None:
        await self._parts_sent()
        if len(self._buffer.tail) >= MAX_TAIL_OBJECTS and self._buffer.try_reserve_tail():
            await self._read_tail()
        tail_object = await self._tails.put(self._buffer.content)
        self._buffer.moved_to_tail(tail_object)
        self._checkpoint.tail_stored(self._received.progress(), self._buffer.tail)
        await self._save_part()

    async def _load_tail(self) -> None:
        """Have the whole part that is being filled in memory."""
        if not self._buffer.tail:
            return
        if not self._buffer.try_reserve_tail():
            await self._move_to_tail_if_any()
            await self._buffer.reserve_tail()
        await self._read_tail()

    async def _read_tail(self) -> None:
        content = await self._tails.read(self._buffer.tail)
        self._checkpoint.tail_became_obsolete(self._buffer.prepend_tail(content))

    async def _send_part(self) -> None:
        """Send the buffer as a part; before that, wait until few enough are on their way."""
        await self._parts_sent(MAX_PARTS_IN_FLIGHT - 1)
        await self._load_tail()
        if not self._target.is_multipart:
            content_type = self._received.content_type
            if content_type is None:
                raise RuntimeError("the head of a file must be smaller than a part")
            await self._changes.run(self._target.start_multipart(content_type))
        # As of the end of this part: more bytes arrive while it is on its way.
        received = self._received.progress()
        before = self._parts_in_flight[-1] if self._parts_in_flight else None
        sending = self._put_part(self._buffer.take_part(), received, before)
        self._parts_in_flight.append(self._changes.start(sending))

    async def _put_part(
        self, part: FullPart, received: Progress, before: asyncio.Task[None] | None
    ) -> None:
        """Store a part. before: stores the previous part, if that is on its way.

        A part is durable only after all previous ones, because durable bytes have no gaps.
        """
        try:
            number = await self._target.next_part_number()
            stored = await self._target.put_part(number, part.content)
        finally:
            self._buffer.release_part(part)
        if before is not None:
            await asyncio.shield(before)
        self._checkpoint.part_stored(received, stored)
        await self._save_part()

    async def _parts_sent(self, remaining: int = 0) -> None:
        """Wait until at most this many parts are on their way."""
        while len(self._parts_in_flight) > remaining:
            await asyncio.shield(self._parts_in_flight[0])
            del self._parts_in_flight[0]

    async def _save_part(self) -> None:
        if self._saves_parts:
            await self._checkpoint.save()

    async def _put_object(self, content_type: str) -> None:
        if not self.is_all_stored:
            await self._load_tail()
            await self._changes.run(self._target.put(self._buffer.content, content_type))
        await self._all_stored()

    async def _complete_multipart(self) -> None:
        if self._buffer.tail or self._buffer.content:
            await self._send_part()
        await self._parts_sent()
        await self._all_stored()
        completing = self._target.complete_multipart(self.durable.parts, self._received.size)
        await self._changes.run(completing)

    async def _all_stored(self) -> None:
        self._checkpoint.object_stored(self._received.progress())
        if self._record.plan.is_kept:
            await self._checkpoint.save(Event.ALL_STORED)
            self.is_all_stored = True
