"""Tail objects: what S3 holds of an upload after its last part."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import suppress

from uuid_utils.compat import uuid7

from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectMissing, ObjectStore
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

    async def put(self, content: bytearray) -> TailObject:
        """Store content under a new key. Errors: StorageUnavailable."""
        key = f"{self._prefix}{uuid7()}"
        await self._objects.put(key, content, _CONTENT_TYPE)
        return TailObject(key, len(content), zlib.crc32(content))

    async def read(self, tail: Iterable[TailObject]) -> bytes:
        """The verified content of tail objects. Errors: UploadLost, StorageUnavailable."""
        return b"".join([await self._read_one(each) for each in tail])

    async def delete(self, tail: Iterable[TailObject]) -> None:
        """Delete tail objects. The reaper deletes those that S3 fails to delete now."""
        with suppress(StorageUnavailable):
            for each in tail:
                await self._objects.delete(each.key)

    async def _read_one(self, tail: TailObject) -> bytes:
        try:
            content = b"".join([piece async for piece in self._objects.read(tail.key)])
        except ObjectMissing:
            raise UploadLost from None
        if zlib.crc32(content) != tail.crc:
            raise UploadLost
        return content
