"""Messages from memory, used only while a check shows that no token has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

from services.catalog.message_cache import Key, MessageCache
from services.catalog.recent_changes import RecentChangesReader
from services.runtime.errors import DatabaseUnavailable
from services.runtime.serialized import Serialized

Read = Callable[[], Awaitable[Serialized]]
"""Reads a message from PostgreSQL."""


class CheckedMessages(Generic[Key]):
    """Answers from a cache, or reads the message, once for all calls that want it."""

    def __init__(self, cache: MessageCache[Key], changes: RecentChangesReader) -> None:
        """changes: removes from the cache what any process has changed."""
        self._cache = cache
        self._changes = changes
        self._reading: dict[Key, asyncio.Future[None]] = {}

    async def get(self, key: Key, read: Read) -> Serialized:
        """The message of a key; see `freshness` for its age. Errors: those of `read`."""
        try:
            message = await self._from_memory(key)
            if message is None and (reading := self._reading.get(key)):
                await asyncio.wait([reading])
                # The same check as for any other message: it may have changed meanwhile.
                message = await self._from_memory(key)
        except DatabaseUnavailable:
            return await read()
        return message or await self._read(key, read)

    async def _from_memory(self, key: Key) -> Serialized | None:
        """The message of a key if it has not changed. Errors: DatabaseUnavailable."""
        entry = self._cache.get(key)
        if not self._changes.is_current and (entry is not None or not self._changes.has_begun):
            await self._changes.catch_up()
            entry = entry and self._cache.get(key)
        return entry.message if entry else None

    async def _read(self, key: Key, read: Read) -> Serialized:
        reserved = self._cache.reserve(key)
        if reserved is None:
            return await read()
        reading = self._reading[key] = asyncio.get_running_loop().create_future()
        try:
            message = await read()
            self._cache.store(key, reserved, message)
        finally:
            self._cache.release(key, reserved)
            if self._reading.get(key) is reading:
                del self._reading[key]
            reading.set_result(None)
        return message
