"""Tail objects: what S3 holds of an upload after its last part."""

from __future__ import annotations

from collections.abc import Iterable

from uuid_utils.compat import uuid7

from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectMissing, ObjectStore
from services.upload.chunks import Chunks
from services.upload.errors import UploadLost
from services.upload.models import TailObject

MAX_TAIL_OBJECTS = 64
"""More objects than this are merged into one."""

_CONTENT_TYPE = "application/octet-stream"


class TailStore:
    """The tail objects of one upload. prefix: of their keys."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix

    async def put(self, content: Chunks) -> TailObject:
        """Store content under a new key. Errors: StorageUnavailable."""
        key = f"{self._prefix}{uuid7()}"
        await self._objects.put(key, content.pieces, _CONTENT_TYPE)
        return TailObject(key, len(content), content.crc32())

    async def read(self, tail: Iterable[TailObject]) -> Chunks:
        """The verified content of tail objects. Errors: UploadLost, StorageUnavailable."""
        content = Chunks()
        for each in tail:
            read = Chunks()
            try:
                async for piece in self._objects.read(each.key):
                    read.append(piece)
            except ObjectMissing:
                raise UploadLost from None
            if read.crc32() != each.crc:
                raise UploadLost
            content.extend(read)
        return content

    async def delete(self, tail: Iterable[TailObject]) -> bool:
        """Delete tail objects; False when S3 failed to delete some, which the reaper sweeps."""
        are_deleted = True
        for each in tail:
            try:
                await self._objects.delete(each.key)
            except StorageUnavailable:
                are_deleted = False
        return are_deleted
