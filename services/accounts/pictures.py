"""The pictures of accounts in S3.

The upload service stores the objects, because it receives the files, and AccountPictureService
gives them to accounts. The accounts service deletes the objects that it no longer names.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from services.accounts.models import Account
from services.accounts.store.pictures import PictureStore
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore

INTERVAL_SECONDS = 5.0
BATCH = 20

_logger = structlog.get_logger(__name__)


class PictureObjects:
    """The objects of all pictures."""

    def __init__(self, objects: ObjectStore, url_seconds: int) -> None:
        """url_seconds: how long the URL of a picture is valid."""
        self._objects = objects
        self._url_seconds = url_seconds

    async def url(self, account: Account) -> str:
        """The presigned URL of the picture; empty without one. Errors: StorageUnavailable."""
        if account.picture is None:
            return ""
        return await self._objects.presigned_url(account.picture.object_key, self._url_seconds)

    async def delete(self, object_key: str) -> None:
        """Delete an object, if it exists. Errors: StorageUnavailable."""
        await self._objects.delete(object_key)

    async def erase(self, account_id: UUID) -> None:
        """Delete all objects of an account. Errors: StorageUnavailable."""
        await self._objects.delete_all(prefix_of(account_id))


class FormerPictures:
    """Deletes the objects of pictures that were replaced or removed."""

    def __init__(self, store: PictureStore, objects: PictureObjects) -> None:
        self._store = store
        self._objects = objects

    async def run_once(self) -> bool:
        """Delete a batch of objects; returns whether there may be more."""
        keys = await self._store.claim(BATCH)
        for key in keys:
            try:
                await self._objects.delete(key)
            except StorageUnavailable as error:
                # They are due again when the claim has ended.
                _logger.warning("pictures not deleted", reason=error.reason)
                return False
            await self._store.deleted(key)
        return len(keys) == BATCH


def prefix_of(account_id: UUID) -> str:
    """The prefix of the keys of all pictures of an account."""
    return f"pictures/{account_id}/"
