"""Metrics of erasures, which operators alert by."""

from __future__ import annotations

from math import nan

from prometheus_client import Gauge

from services.accounts.store import ErasureStore

INTERVAL_SECONDS = 60.0


class ErasureMetrics:
    """The number of overdue erasures; every replica shows the same value."""

    def __init__(self, store: ErasureStore) -> None:
        self._store = store
        self._overdue = Gauge(
            "sori_accounts_erasures_overdue",
            "Deleted accounts whose data is not erased within the promised day.",
        )

    async def refresh(self) -> None:
        """Read the erasures. Errors: DatabaseUnavailable."""
        # Unknown is not 0: an alert must not resolve because the database is down.
        overdue: float = nan
        try:
            overdue = await self._store.overdue()
        finally:
            self._overdue.set(overdue)
