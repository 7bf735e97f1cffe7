"""A cache of tokens that the catalog's stream of changes keeps up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Generic, TypeVar

import grpc
import structlog

from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

RECONNECT_SECONDS = 0.5

_logger = structlog.get_logger(__name__)

Entry = TypeVar("Entry")


class TokenCache(Generic[Entry]):
    """Holds something of each token, such as its revision, while the watch of tokens is open.

    A change of a token removes its entry. When the watch is interrupted, all entries are
    removed, and every read calls the catalog until the watch is open again.
    """

    def __init__(
        self,
        catalog: catalog_pb2_grpc.CatalogServiceAsyncStub,
        entries: MutableMapping[int, Entry],
    ) -> None:
        """entries: an empty mapping, by the id of the token; it decides how much it holds."""
        self._catalog = catalog
        self._entries = entries
        self._is_current = False
        self._changes_received = 0

    async def run(self) -> None:
        """Watch the changes of tokens; returns only when cancelled."""
        cursor = ""
        while True:
            try:
                request = catalog_pb2.WatchTokensRequest(cursor=cursor)
                async for response in self._catalog.WatchTokens(request):
                    self._apply(response)
                    cursor = response.cursor or cursor
            except grpc.aio.AioRpcError as error:
                _logger.info("token changes interrupted", code=error.code().name)
            finally:
                self._is_current = False
                self._entries.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    def _apply(self, response: catalog_pb2.WatchTokensResponse) -> None:
        self._changes_received += 1
        for change in response.changes:
            self.remove(change.token_id)
        # A snapshot is complete only with its last message, which has the cursor.
        self._is_current = self._is_current or bool(response.cursor)

    def get(self, token_id: int) -> Entry | None:
        """The entry of a token; None if there is none."""
        return self._entries.get(token_id)

    def remove(self, token_id: int) -> None:
        """Remove the entry of a token, if there is one."""
        self._entries.pop(token_id, None)

    async def read(self, token_id: int, fetch: Callable[[], Awaitable[Entry]]) -> Entry:
        """Call `fetch`, which reads the token from the catalog, and hold what it returns."""
        changes_before = self._changes_received
        entry = await fetch()
        # A change that arrived meanwhile may be newer than the answer.
        if self._is_current and changes_before == self._changes_received:
            self._entries[token_id] = entry
        return entry
