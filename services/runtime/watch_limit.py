"""A limit on the watches of this process: those of one client, and all of them."""

from __future__ import annotations

from contextlib import AbstractContextManager

from services.runtime.shared_errors import TooManyWatches, WatchesExhausted


class WatchLimit:
    """Counts the watches of each client and of all clients together."""

    def __init__(self, *, per_client: int, total: int) -> None:
        """Set both limits; 0 is unlimited."""
        self._per_client = per_client
        self._total = total
        self._watches: dict[str, int] = {}
        self._all = 0

    def watch(self, client: str) -> AbstractContextManager[None]:
        """Count a watch of a client while it lasts. Errors: TooManyWatches, WatchesExhausted."""
        return _Watch(self, client)

    def _enter(self, client: str) -> None:
        watches = self._watches.get(client, 0)
        if self._per_client and watches >= self._per_client:
            raise TooManyWatches(limit=self._per_client)
        if self._total and self._all >= self._total:
            raise WatchesExhausted(limit=self._total)
        self._watches[client] = watches + 1
        self._all += 1

    def _leave(self, client: str) -> None:
        self._all -= 1
        self._watches[client] -= 1
        if not self._watches[client]:
            del self._watches[client]


class _Watch:
    """One watch: it needs less memory than a generator's context, and there are thousands."""

    __slots__ = ("_client", "_limit")

    def __init__(self, limit: WatchLimit, client: str) -> None:
        self._limit = limit
        self._client = client

    def __enter__(self) -> None:
        self._limit._enter(self._client)

    def __exit__(self, *_: object) -> None:
        self._limit._leave(self._client)
