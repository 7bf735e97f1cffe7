"""The responses of GetToken: serialized tokens, those of popular tokens from memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace

from services.catalog import converters
from services.catalog.models import ReferenceAssets
from services.catalog.recent_changes import RecentChangesReader
from services.catalog.slices import map_in_slices
from services.catalog.store import ChangeStore, TokenStore
from services.catalog.token_cache import ENTRY_SECONDS, TokenCache
from services.runtime.errors import DatabaseUnavailable
from services.runtime.object_store import ObjectStore
from services.runtime.serialized import Serialized

ASSET_URL_SECONDS = 3600
"""How long the URLs of a response are valid at least."""

_SIGNED_SECONDS = ASSET_URL_SECONDS + round(ENTRY_SECONDS)


class TokenMessages:
    """Reads tokens, or answers from the cache after a check that they have not changed."""

    def __init__(
        self, tokens: TokenStore, changes: ChangeStore, objects: ObjectStore, max_bytes: int
    ) -> None:
        """max_bytes: of the cache; 0: every call reads the token."""
        self._tokens = tokens
        self._objects = objects
        self._is_caching = max_bytes > 0
        self._cache = TokenCache(max_bytes)
        self._changes = RecentChangesReader(changes, self._cache)

    async def get(self, token_id: int, *, is_full: bool) -> Serialized:
        """The message of a token. Errors: TokenNotFound."""
        if not self._is_caching:
            return await self._read(token_id, is_full)
        key = (token_id, is_full)
        entry = self._cache.get(key)
        if entry is not None or not self._changes.has_begun:
            try:
                await self._changes.catch_up()
            except DatabaseUnavailable:
                return await self._read(token_id, is_full)
        if entry is not None and entry.message is not None and self._cache.get(key) is entry:
            return entry.message
        reserved = self._cache.reserve(key)
        try:
            message = await self._read(token_id, is_full)
            self._cache.store(key, reserved, message)
        finally:
            self._cache.release(key, reserved)
        return message

    def forget_views(self, token_ids: Iterable[int]) -> None:
        """Read the view counts of tokens again."""
        self._cache.forget(token_ids)

    async def _read(self, token_id: int, is_full: bool) -> Serialized:
        if is_full:
            token = await self._tokens.get_with_scripts(token_id)
            urls = await self._presigned_urls(token.reference_assets)
            message = converters.token_to(replace(token, scripts=()), urls)
            message.scripts.extend(await map_in_slices(converters.script_to, token.scripts))
        else:
            message = converters.token_to(await self._tokens.get(token_id))
        return Serialized(message.SerializeToString(), message.etag)

    async def _presigned_urls(self, assets: ReferenceAssets) -> dict[str, str]:
        return {
            key: await self._objects.presigned_url(key, _SIGNED_SECONDS)
            for key in astuple(assets)
            if key is not None
        }
