"""What of an upload is durable, and what of that PostgreSQL knows.

    saved  ⊆  durable  ⊆  received

- received: every byte that arrived (`ReceivedBytes`) is in a part, in the tail, in a part
  on its way to S3, or in the part buffer.
- durable: S3 has confirmed the parts and tail objects that `durable` names, and their sizes
  add up to `durable.size`.
- saved: a checkpoint in PostgreSQL names them. Only saved bytes count as committed, so a
  client that resumes never skips a byte that S3 does not have.

An object that `durable` no longer names is deleted after the checkpoint that stops naming
it, never before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.runtime.uploaded_part import UploadedPart
from services.upload.errors import UploadSuperseded
from services.upload.models import Progress, TailObject, UploadRecord
from services.upload.state import Event
from services.upload.store import WriterStore
from services.upload.tail import TailStore


class Checkpoint:
    """Keeps `durable` for one session, and saves it."""

    def __init__(self, record: UploadRecord, store: WriterStore, tails: TailStore) -> None:
        self._record = record
        self._store = store
        self._tails = tails
        self.durable = record.progress
        self._unsaved_parts: list[UploadedPart] = []
        self._unsaved_tail: list[TailObject] = []
        self._obsolete_tail: list[TailObject] = []
        self.leaves_objects = False
        """Whether S3 has tail objects that could not be deleted."""

    def tail_stored(self, received: Progress, tail: tuple[TailObject, ...]) -> None:
        """All received bytes are durable: the last of them in the tail."""
        self._unsaved_tail.append(tail[-1])
        self.durable = replace(received, parts=self.durable.parts, tail=tail)

    def part_stored(self, received: Progress, part: UploadedPart) -> None:
        """All bytes up to the end of a part are durable. received: as of that end."""
        self._unsaved_parts.append(part)
        self.durable = replace(received, parts=(*self.durable.parts, part))

    def object_stored(self, received: Progress) -> None:
        """All bytes are durable, in the object or in its parts."""
        self.durable = replace(received, parts=self.durable.parts)

    def tail_became_obsolete(self, tail: Iterable[TailObject]) -> None:
        """These tail objects are in memory again, and will be in the next part."""
        self._obsolete_tail += tail

    async def save(self, event: Event = Event.CHECKPOINTED) -> None:
        """Save what is durable, as one statement that only the current writer can make.

        Errors: UploadSuperseded, DatabaseUnavailable.
        """
        if not await self._store.checkpoint(self._record, self.durable, self._unsaved_parts, event):
            await self.discard_unsaved()
            raise UploadSuperseded
        self._unsaved_parts, self._unsaved_tail = [], []
        await self.delete_obsolete()

    async def delete_obsolete(self) -> None:
        """Delete tail objects whose bytes are durable elsewhere."""
        obsolete, self._obsolete_tail = self._obsolete_tail, []
        self.leaves_objects |= not await self._tails.delete(obsolete)

    async def discard_unsaved(self) -> None:
        """Delete the tail objects that no checkpoint names."""
        unsaved, self._unsaved_tail = self._unsaved_tail, []
        self.leaves_objects |= not await self._tails.delete(unsaved)
