"""A limit on the watches that one client has in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.analysis.errors import TooManyWatches


class WatchLimit:
    """Counts the watches of each client."""

    def __init__(self, limit: int | None) -> None:
        """Create a limit. limit: watches of one client; None for any number."""
        self._limit = limit
        self._watches = Counter[str]()

    @contextmanager
    def watch(self, client: str) -> Iterator[None]:
        """Count a watch of a client while it lasts. Errors: TooManyWatches."""
        if self._limit is not None and self._watches[client] >= self._limit:
            raise TooManyWatches(limit=self._limit)
        self._watches[client] += 1
        try:
            yield
        finally:
            self._watches[client] -= 1
            if not self._watches[client]:
                del self._watches[client]
