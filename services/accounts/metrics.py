"""Metrics of erasures, mails, keys and logins, which operators alert by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import nan

from prometheus_client import Counter, Gauge

from services.accounts.errors import KeysUnavailable
from services.accounts.key_ring import KeyRing
from services.accounts.store import ErasureStore, MailStore
from services.runtime.errors import SoriError

INTERVAL_SECONDS = 60.0

SUCCEEDED = "SUCCEEDED"

_logins = Counter(
    "sori_accounts_logins",
    "Logins with a password, by outcome: SUCCEEDED, or the reason of the error.",
    ["outcome"],
)


@contextmanager
def counted_login() -> Iterator[None]:
    """Count a login by its outcome. Unexpected errors do not count."""
    try:
        yield
    except SoriError as error:
        _logins.labels(error.reason).inc()
        raise
    _logins.labels(SUCCEEDED).inc()


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


class KeyMetrics:
    """Whether this process can sign access tokens, and whether its key should be replaced."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._can_sign = Gauge(
            "sori_accounts_can_sign",
            "1 if this process can sign access tokens; 0 if it has no key that it can decrypt.",
        )
        self._overdue = Gauge(
            "sori_accounts_signing_key_overdue_seconds",
            "How long the present signing key has been used beyond its lifetime; 0 if it has not.",
        )

    async def refresh(self) -> None:
        """State both of the keys as this process knows them."""
        try:
            self._keys.signer()
        except KeysUnavailable:
            self._can_sign.set(0)
        else:
            self._can_sign.set(1)
        self._overdue.set(self._keys.overdue_seconds())
