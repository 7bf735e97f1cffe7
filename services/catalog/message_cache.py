"""Serialized messages in memory: those read last, up to a number of bytes. No I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.runtime.serialized import Serialized

ENTRY_BYTES = 500
"""What an entry costs besides its message."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, eq=False)
class Entry:
    """A message and the time of the clock until which it is used; None while it is read."""

    message: Serialized | None = None
    end_time: float = 0.0

    @property
    def size(self) -> int:
        """The bytes that count against the limit."""
        return ENTRY_BYTES + len(self.message.content) if self.message else ENTRY_BYTES


class MessageCache(Generic[Key]):
    """Entries by key, each used for a limited time. A change removes entries earlier.

    To fill an entry, reserve it, read the message, and store it. A change during the read
    removes the reservation, so that a message which may be outdated is not stored.
    """

    def __init__(
        self, max_bytes: int, entry_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create a cache.

        max_bytes: the limit; with 0, nothing is stored.
        entry_seconds: how long an entry is used.
        """
        self._max_bytes = max_bytes
        self._entry_seconds = entry_seconds
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._bytes = 0

    @property
    def size(self) -> int:
        """The bytes of all entries."""
        return self._bytes

    def get(self, key: Key) -> Entry | None:
        """The entry of a message that can still be used."""
        entry = self._entries.get(key)
        if entry is None or entry.message is None or entry.end_time <= self._clock():
            return None
        self._entries.move_to_end(key)
        return entry

    def reserve(self, key: Key) -> Entry | None:
        """An entry that waits for its message; None if another one does.

        Calls that come while a message is read would otherwise replace each other's
        reservations, so that a popular message is never stored.
        """
        existing = self._entries.get(key)
        if existing is not None and existing.message is None:
            return None
        self.remove(key)
        entry = Entry()
        self._add(key, entry)
        return entry

    def store(self, key: Key, entry: Entry | None, message: Serialized) -> None:
        """Store the message of a reserved entry, unless a change has removed it meanwhile."""
        if entry is None or self._entries.get(key) is not entry:
            return
        self.remove(key)
        if ENTRY_BYTES + len(message.content) <= self._max_bytes:
            self._add(key, Entry(message, self._clock() + self._entry_seconds))

    def release(self, key: Key, entry: Entry | None) -> None:
        """Give a reservation up, unless its message was stored."""
        if entry is not None and self._entries.get(key) is entry:
            self.remove(key)

    def remove(self, key: Key) -> None:
        """Remove an entry, if it exists."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self._bytes = 0

    def _add(self, key: Key, entry: Entry) -> None:
        self._entries[key] = entry
        self._bytes += entry.size
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.size
