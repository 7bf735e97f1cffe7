"""The responses of GetToken: serialized tokens, those of popular tokens from memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace

from services.catalog import converters
from services.catalog.checked_messages import CheckedMessages
from services.catalog.message_cache import MessageCache
from services.catalog.models import ReferenceAssets
from services.catalog.recent_changes import RecentChangesReader
from services.catalog.slices import map_in_slices
from services.catalog.store import TokenStore
from services.runtime.object_store import ObjectStore
from services.runtime.serialized import Serialized

ASSET_URL_SECONDS = 3600
"""How long the URLs of a response are valid at least."""

ENTRY_SECONDS = 60.0
"""How long a token is used: presigned URLs expire, and views change no revision."""

_SIGNED_SECONDS = ASSET_URL_SECONDS + round(ENTRY_SECONDS)

_Key = tuple[int, bool]
"""The id of a token, and whether the message has the view FULL."""


class TokenMessages:
    """Reads tokens, or answers from memory."""

    def __init__(
        self,
        tokens: TokenStore,
        changes: RecentChangesReader,
        objects: ObjectStore,
        max_bytes: int,
    ) -> None:
        """max_bytes: of the tokens in memory; 0: every call reads the token."""
        self._tokens = tokens
        self._objects = objects
        self._is_caching = max_bytes > 0
        self._cache = MessageCache[_Key](max_bytes, ENTRY_SECONDS)
        self._messages = CheckedMessages(self._cache, changes)
        changes.add_cache(self.forget)

    async def get(self, token_id: int, *, is_full: bool) -> Serialized:
        """The message of a token. Errors: TokenNotFound."""
        if not self._is_caching:
            return await self._read(token_id, is_full)
        return await self._messages.get((token_id, is_full), lambda: self._read(token_id, is_full))

    def forget(self, token_ids: Iterable[int] | None) -> None:
        """Read tokens again; None: all tokens."""
        if token_ids is None:
            self._cache.clear()
            return
        for token_id in token_ids:
            self._cache.remove((token_id, False))
            self._cache.remove((token_id, True))

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
