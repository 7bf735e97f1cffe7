"""Taking in one reference asset: from its first byte to its place at the token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from uuid_utils.compat import uuid7

from services.runtime.errors import CatalogUnavailable, IncompleteUpload, StorageUnavailable
from services.runtime.objects import ObjectStore
from services.upload.cleaning import CleanUps
from services.upload.container import audio_type, json_type
from services.upload.peers import Catalog
from services.upload.stream import AssetKind, AssetStart, Item
from services.upload.writer import ObjectWriter, StoredObject

_TYPES: dict[AssetKind, Callable[[bytes], str]] = {
    AssetKind.VOICE: audio_type,
    AssetKind.BACKGROUND: audio_type,
    AssetKind.PITCH: partial(json_type, kind=AssetKind.PITCH),
    AssetKind.ALIGNMENT: partial(json_type, kind=AssetKind.ALIGNMENT),
}


@dataclass(frozen=True)
class TakenAsset:
    """A reference asset that its token has, at this revision."""

    token_id: int
    token_revision: int
    stored: StoredObject


class AssetIntake:
    """Takes in reference assets. What fails leaves nothing in S3."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore, clean_ups: CleanUps, limit_bytes: int
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._clean_ups = clean_ups
        self._limit_bytes = limit_bytes

    async def take(self, items: AsyncIterator[Item]) -> TakenAsset:
        """Take in one asset. Errors: those of the stream, of the file and of the catalog."""
        first = await anext(items, None)
        if not isinstance(first, AssetStart):
            raise IncompleteUpload
        await self._catalog.token_revision(first.token_id)
        # A key of its own for each, so that nobody reads half of two.
        key = f"references/{first.token_id}/{first.kind}/{uuid7()}"
        writer = ObjectWriter(self._objects, key, self._limit_bytes, _TYPES[first.kind])
        try:
            stored = await writer.write_all(items)
            revision = await self._catalog.use_asset(first.token_id, first.kind, key)
        except BaseException:
            await self._clean_ups.run(self._discard(first, key, writer))
            raise
        return TakenAsset(first.token_id, revision, stored)

    async def _discard(self, start: AssetStart, key: str, writer: ObjectWriter) -> None:
        """Remove the object, unless the token has it after all or nobody can tell."""
        with suppress(StorageUnavailable, CatalogUnavailable):
            await writer.abort()
            if not await self._catalog.has_asset(start.token_id, start.kind, key):
                await writer.delete()
