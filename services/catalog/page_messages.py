"""The responses of lists and searches: popular ones from memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from google.protobuf.message import Message

from services.catalog.checked_messages import CheckedMessages
from services.catalog.message_cache import MessageCache
from services.catalog.recent_changes import RecentChangesReader
from services.runtime.serialized import Serialized

ENTRY_SECONDS = 1.0
"""How long a page is used: views and new names of actors are no changes of tokens.

Those that this process writes show at once.
"""

MAX_REQUEST_BYTES = 200
"""The responses to larger requests are not kept. Few requests are that long and popular."""

_Key = tuple[int, type, bytes]
"""How many writes of this process came before the read, and the request."""

Request = TypeVar("Request", bound=Message)


class PageMessages:
    """Answers requests from memory until any token changes."""

    def __init__(self, changes: RecentChangesReader, max_bytes: int) -> None:
        """max_bytes: of the pages in memory; 0: every call reads its page."""
        self._is_caching = max_bytes > 0
        self._changes = changes
        self._cache = MessageCache[_Key](max_bytes, ENTRY_SECONDS)
        self._messages = CheckedMessages(self._cache, changes)
        changes.add_cache(self.forget)

    async def get(
        self, request: Request, read: Callable[[Request], Awaitable[Message]]
    ) -> Serialized:
        """The response to a request, which `read` reads. Errors: those of `read`."""

        async def read_message() -> Serialized:
            return Serialized((await read(request)).SerializeToString())

        if not self._is_caching or request.ByteSize() > MAX_REQUEST_BYTES:
            return await read_message()
        content = request.SerializeToString(deterministic=True)
        key = (self._changes.writes, type(request), content)
        return await self._messages.get(key, read_message)

    def forget(self, token_ids: Collection[int] | None) -> None:
        """Read the pages again if tokens changed; None: those that changed are not known."""
        if token_ids is None or token_ids:
            self._cache.clear()
