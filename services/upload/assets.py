"""Taking in one reference asset: from its first byte to its place at the token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from uuid_utils.compat import uuid7

from services.upload.clients import CatalogClient
from services.upload.engine import Uploads
from services.upload.errors import IncompleteUpload
from services.upload.stream import AssetStart, Item, content_of
from services.upload.uploads import Kind, Plan
from services.upload.writer import StoredObject


@dataclass(frozen=True)
class TakenAsset:
    """A reference asset that its token has, at this revision."""

    token_id: int
    token_revision: int
    stored: StoredObject


class AssetIntake:
    """Takes in reference assets. What fails leaves nothing in S3."""

    def __init__(self, catalog: CatalogClient, uploads: Uploads) -> None:
        self._catalog = catalog
        self._uploads = uploads

    async def take(self, items: AsyncIterator[Item]) -> TakenAsset:
        """Take in one asset. Errors: those of the stream, of the file and of the catalog."""
        first = await anext(items, None)
        if not isinstance(first, AssetStart):
            raise IncompleteUpload
        revision = await self._catalog.token_revision(first.token_id)
        plan = Plan(Kind.ASSET, first.token_id, asset_kind=first.kind, resumable=False)
        # A key of its own for each, so that nobody reads half of two.
        key = f"references/{first.token_id}/{first.kind}/{uuid7()}"
        holding = await self._uploads.begin(plan, key, revision)
        taken = await self._uploads.take(holding, content_of(items))
        return TakenAsset(first.token_id, taken.token_revision, taken.stored)
