"""Metrics of erasures and mails, which operators alert by."""

from __future__ import annotations

from math import nan

from prometheus_client import Gauge

from services.accounts.store import ErasureStore, MailStore

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


class MailMetrics:
    """The age of the oldest mail that waits; every replica shows the same value."""

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._age = Gauge(
            "sori_accounts_oldest_mail_seconds",
            "Age of the oldest mail that the mail server has not accepted yet; 0 without one.",
        )

    async def refresh(self) -> None:
        """Read the mails. Errors: DatabaseUnavailable."""
        age: float = nan
        try:
            age = await self._store.oldest_seconds()
        finally:
            self._age.set(age)
