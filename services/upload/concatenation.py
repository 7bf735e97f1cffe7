"""The parts of a concatenation: the bytes of partial uploads, and the wait for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from services.runtime.object_store import ObjectMissing, ObjectStore
from services.upload.errors import UploadIncomplete, UploadLost
from services.upload.models import Upload, UploadRecord, ended_error
from services.upload.state import OPEN, State
from services.upload.stream import Content, Finish

POLLS, POLL_SECONDS = 50, 0.2
"""How often a repeated request looks whether the first one has ended, and the pause between."""


async def content_of(objects: ObjectStore, partials: Sequence[UploadRecord]) -> Content:
    """The bytes of partial uploads, in this order. Errors: UploadLost, StorageUnavailable."""
    try:
        for each in partials:
            async for content in objects.read(each.object_key):
                yield content
    except ObjectMissing:
        raise UploadLost from None
    yield Finish()


async def completed(read: Callable[[UUID], Awaitable[Upload]], upload_id: UUID) -> Upload:
    """A concatenation when it is completed, by this request or by an earlier one.

    Errors: UploadIncomplete after POLLS, UploadEnded, those of `read`.
    """
    for _ in range(POLLS):
        upload = await read(upload_id)
        if upload.state is State.COMPLETED:
            return upload
        if upload.state not in OPEN:
            raise ended_error(upload)
        await asyncio.sleep(POLL_SECONDS)
    raise UploadIncomplete(upload_id=upload_id)
