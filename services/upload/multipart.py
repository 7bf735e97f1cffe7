"""The S3 object that an upload becomes: one put, or a multipart upload."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from services.runtime.object_store import ObjectMissing, ObjectStore
from services.runtime.uploaded_part import UploadedPart
from services.upload.chunks import Chunks
from services.upload.errors import UploadLost, UploadSuperseded
from services.upload.models import UploadRecord
from services.upload.store import WriterStore


class TargetObject:
    """Writes the object of one upload.

    A part number is never used twice: a request that reaches S3 late cannot replace a part
    that a checkpoint names.
    """

    def __init__(self, record: UploadRecord, store: WriterStore, objects: ObjectStore) -> None:
        self._record = record
        self._store = store
        self._objects = objects
        self._s3_upload_id = record.s3_upload_id
        self._numbering = asyncio.Lock()

    @property
    def is_multipart(self) -> bool:
        """Whether a multipart upload has started."""
        return self._s3_upload_id is not None

    async def put(self, content: Chunks, content_type: str) -> None:
        """Store the whole object in one request. Errors: StorageUnavailable."""
        await self._objects.put(self._record.object_key, content.pieces, content_type)

    async def start_multipart(self, content_type: str) -> None:
        """Start the multipart upload. Errors: UploadSuperseded, StorageUnavailable."""
        key = self._record.object_key
        upload_id = await self._objects.start_multipart(key, content_type)
        if not await self._store.set_multipart(self._record, upload_id):
            await self._objects.abort_multipart(key, upload_id)
            raise UploadSuperseded
        self._s3_upload_id = upload_id

    async def next_part_number(self) -> int:
        """A part number that no part has had; later calls get higher ones.

        Errors: UploadSuperseded.
        """
        async with self._numbering:
            number = await self._store.next_part_number(self._record)
        if number is None:
            raise UploadSuperseded
        return number

    async def put_part(self, number: int, content: Chunks) -> UploadedPart:
        """Store one part. Errors: UploadLost, StorageUnavailable."""
        key, upload_id = self._record.object_key, self._s3_upload_id or ""
        try:
            return await self._objects.put_part(key, upload_id, number, content.pieces)
        except ObjectMissing:
            raise UploadLost from None

    async def complete_multipart(self, parts: Sequence[UploadedPart], size: int) -> None:
        """Make the parts an object, and check its size. Errors: UploadLost, StorageUnavailable."""
        key, upload_id = self._record.object_key, self._s3_upload_id or ""
        # A multipart upload that is missing was completed before: then its object exists.
        with suppress(ObjectMissing):
            await self._objects.finish_multipart(key, upload_id, list(parts))
        try:
            stored_size = await self._objects.size(key)
        except ObjectMissing:
            raise UploadLost from None
        if stored_size != size:
            raise UploadLost
