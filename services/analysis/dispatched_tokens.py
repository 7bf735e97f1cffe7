"""The tokens as dispatches send them: encoded once, and cached while their URLs are valid."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial

from cachetools import LRUCache
from google.protobuf import json_format

from services.runtime.presigning import seconds_left
from services.runtime.token_cache import TokenCache
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

CACHE_BYTES = 16 * 1024**2
ENTRY_BYTES = 2048
"""What an entry costs besides its JSON; so the cache holds at most 8,192 tokens."""

MIN_VALIDITY = 0.5
"""The share of their validity that the URLs of a cached token still have."""


@dataclass(frozen=True, slots=True)
class DispatchedToken:
    """A token with its scripts and presigned assets.

    body: JSON. end_time: of `time.monotonic`, until which it may be sent.
    """

    body: bytes
    revision: int
    end_time: float


class DispatchedTokens:
    """Reads tokens from the catalog, and caches those that are dispatched most."""

    def __init__(
        self,
        catalog: catalog_pb2_grpc.CatalogServiceAsyncStub,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._cache = TokenCache[DispatchedToken](catalog, new_entries())

    async def run(self) -> None:
        """Keep the cache up to date; returns only when cancelled."""
        await self._cache.run()

    async def get(self, token_id: int, min_revision: int) -> DispatchedToken:
        """A token. min_revision: its revision when it was recorded; a cached one is not older.

        Errors: AioRpcError.
        """
        token = self._cache.get(token_id)
        if token and token.revision >= min_revision and self._clock() < token.end_time:
            return token
        return await self._cache.read(token_id, partial(self._fetch, token_id))

    async def _fetch(self, token_id: int) -> DispatchedToken:
        request = catalog_pb2.GetTokenRequest(id=token_id, view=catalog_pb2.TOKEN_VIEW_FULL)
        token = await self._catalog.GetToken(request)
        fields = json_format.MessageToDict(
            token,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        body = json.dumps(fields, ensure_ascii=False).encode()
        return DispatchedToken(body, token.revision, self._clock() + seconds_to_keep(token))


def seconds_to_keep(token: catalog_pb2.Token) -> float:
    """How long a token may be sent whose URLs were presigned just now; at least 0.

    Without URLs it is endless: only changes make it outdated.
    """
    assets = (asset for _, asset in token.reference_assets.ListFields())
    seconds = float("inf")
    for left, validity in (seconds_left(asset.url) for asset in assets):
        # The clock of the catalog's host may differ: more than the validity is never left.
        seconds = min(seconds, min(left, validity) - MIN_VALIDITY * validity)
    return max(0.0, seconds)


def new_entries() -> MutableMapping[int, DispatchedToken]:
    """An empty mapping of the tokens dispatched last, up to CACHE_BYTES."""
    return _Entries(CACHE_BYTES, getsizeof=_size)


class _Entries(LRUCache[int, DispatchedToken]):
    def __setitem__(self, token_id: int, token: DispatchedToken) -> None:
        # cachetools raises an error for an entry that is larger than the whole cache.
        if _size(token) <= self.maxsize:
            super().__setitem__(token_id, token)


def _size(token: DispatchedToken) -> int:
    return len(token.body) + ENTRY_BYTES
