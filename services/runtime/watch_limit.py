"""A limit on the watches of this process: those of one client, and all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.shared_errors import TooManyWatches, WatchesExhausted


class WatchLimit:
    """Counts the watches of each client and of all clients together."""

    def __init__(self, *, per_client: int, total: int) -> None:
        """Set both limits; 0 is unlimited."""
        self._per_client = per_client
        self._total = total
        self._watches = Counter[str]()

    @contextmanager
    def watch(self, client: str) -> Iterator[None]:
        """Count a watch of a client while it lasts. Errors: TooManyWatches, WatchesExhausted."""
        if self._per_client and self._watches[client] >= self._per_client:
            raise TooManyWatches(limit=self._per_client)
        if self._total and self._watches.total() >= self._total:
            raise WatchesExhausted(limit=self._total)
        self._watches[client] += 1
        try:
            yield
        finally:
            self._watches[client] -= 1
            if not self._watches[client]:
                del self._watches[client]
