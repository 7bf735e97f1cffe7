"""Uploads by their owners: a guest who signs up keeps theirs, and an account can be erased."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from services.upload.client_limits import account_client
from services.upload.completion import Completion
from services.upload.errors import UPLOAD_CANCELLED
from services.upload.state import OPEN, Event
from services.upload.store import OwnerStore, UploadStore

ERASED_AT_ONCE = 100
"""How many uploads one call erases, so that it ends within the deadline of its caller."""

CONCURRENT_ERASURES = 5


@dataclass(frozen=True)
class ErasedUploads:
    """The result of one call.

    erased: how many uploads this call erased. has_more: whether others are left. pending: how
    many erased uploads still have a row, and maybe bytes; the reaper deletes them.
    """

    erased: int
    has_more: bool
    pending: int


class OwnedUploads:
    """Transfers and erases what belongs to an owner."""

    def __init__(self, owners: OwnerStore, store: UploadStore, completion: Completion) -> None:
        self._owners = owners
        self._store = store
        self._completion = completion

    async def adopt(self, guest_id: str, account_id: str) -> int:
        """Give all uploads of a guest to an account; returns their number.

        Errors: DatabaseUnavailable.
        """
        return await self._owners.adopt(guest_id, account_id)

    async def erase(self, owner_id: str) -> ErasedUploads:
        """Cancel the uploads of an owner, and let the reaper delete all that is stored of them.

        The recordings of completed uploads belong to their analyses.
        Errors: AnalysisUnavailable, CatalogUnavailable, StorageUnavailable,
        DatabaseUnavailable; the next call continues.
        """
        found = await self._owners.to_erase(owner_id, ERASED_AT_ONCE)
        turns = asyncio.Semaphore(CONCURRENT_ERASURES)

        async def erase_one(upload_id: UUID) -> None:
            async with turns:
                await self._erase_one(upload_id)

        results = await asyncio.gather(*map(erase_one, found.upload_ids), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error
        if not found.has_more:
            await self._owners.delete_counts(account_client(owner_id))
        pending = await self._owners.stored(owner_id)
        return ErasedUploads(len(found.upload_ids), found.has_more, pending)

    async def _erase_one(self, upload_id: UUID) -> None:
        record = await self._store.take_over(upload_id)
        if record is not None and record.upload.state in OPEN:
            await self._completion.end(record, Event.CANCELLED, UPLOAD_CANCELLED)
        await self._owners.forget_ended(upload_id)
