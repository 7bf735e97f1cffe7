"""Serialized tokens in memory: those read last, up to a number of bytes. No I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.runtime.serialized import Serialized

ENTRY_SECONDS = 60.0
"""How long an entry is used: presigned URLs expire, and views change no revision."""

ENTRY_BYTES = 500
"""What an entry costs besides its message."""

Key = tuple[int, bool]
"""The id of a token, and whether the entry has the view FULL."""


@dataclass(slots=True, eq=False)
class Entry:
    """A message and the time of the clock until which it is used; None while it is read."""

    message: Serialized | None = None
    end_time: float = 0.0

    @property
    def size(self) -> int:
        """The bytes that count against the limit."""
        return ENTRY_BYTES + len(self.message.content) if self.message else ENTRY_BYTES


class TokenCache:
    """Entries by token and view. A change of a token removes its entries.

    To fill an entry, reserve it, read the token, and store the message. A change during the
    read removes the reservation, so that a message which may be outdated is not stored.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """max_bytes: the limit; with 0, nothing is stored."""
        self._max_bytes = max_bytes
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

        Calls that come while a token is read would otherwise replace each other's
        reservations, so that a popular token is never stored.
        """
        existing = self._entries.get(key)
        if existing is not None and existing.message is None:
            return None
        self._remove(key)
        entry = Entry()
        self._add(key, entry)
        return entry

    def store(self, key: Key, entry: Entry | None, message: Serialized) -> None:
        """Store the message of a reserved entry, unless its token has changed meanwhile."""
        if entry is None or self._entries.get(key) is not entry:
            return
        self._remove(key)
        if ENTRY_BYTES + len(message.content) <= self._max_bytes:
            self._add(key, Entry(message, self._clock() + ENTRY_SECONDS))

    def release(self, key: Key, entry: Entry | None) -> None:
        """Give a reservation up, unless its message was stored."""
        if entry is not None and self._entries.get(key) is entry:
            self._remove(key)

    def forget(self, token_ids: Iterable[int]) -> None:
        """Remove the entries of tokens."""
        for token_id in token_ids:
            self._remove((token_id, False))
            self._remove((token_id, True))

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

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
