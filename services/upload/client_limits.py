"""Limits per client: how many uploads it may have open, and how many bytes it may send a day.

A client is a key: its account, or without one its network address. A guest counts by address,
because everyone can get any number of guest secrets. PostgreSQL has the counts, because a
limit holds for all replicas and after a restart. They are read and written in batches, so
that a take that arrives at once costs no statement. A client can exceed a limit by what it
sends to each replica between two batches, and by the uploads that it creates at the same
moment. A take that has no row counts only at its own replica.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cachetools import LRUCache

from services.runtime.callers import Caller
from services.runtime.periodic import PeriodicTask
from services.upload.client_store import ClientStore, ClientUsage
from services.upload.errors import DailyBytesExceeded, TooManyOpenUploads

BATCH_SECONDS = 1.0
MAX_REMEMBERED_CLIENTS = 10_000

COUNT_VALID_SECONDS = 3 * BATCH_SECONDS
"""How long a count of open uploads is used. It may fall, unlike the bytes of a day."""

OPEN_RETRY_SECONDS = 30
"""A client cannot know when its uploads end, so it tries again after this time."""

_ACCOUNT = "account:"

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Quota:
    """What one client may use; 0 is unlimited. daily_bytes: on a day in UTC."""

    open_uploads: int = 0
    daily_bytes: int = 0

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing needs to be counted."""
        return not self.open_uploads and not self.daily_bytes


def account_client(account_id: str) -> str:
    """The key of an account; it equals no address."""
    return _ACCOUNT + account_id


def client_of(caller: Caller, address: str) -> str:
    """The key of the limits that a caller counts against. address: the key of its address."""
    return account_client(caller.owner_id) if caller.is_account else address


class _Saved:
    """What a client used at the time of a batch."""

    def __init__(self, usage: ClientUsage) -> None:
        self._usage = usage
        self._day = datetime.now(UTC).date()
        self._time = time.monotonic()

    @property
    def bytes_today(self) -> int:
        """Bytes received since midnight UTC, as far as known."""
        return self._usage.bytes_today if datetime.now(UTC).date() == self._day else 0

    @property
    def open_uploads(self) -> int:
        """Uploads that have not ended; 0 when the count is too old."""
        is_recent = time.monotonic() - self._time < COUNT_VALID_SECONDS
        return self._usage.open_uploads if is_recent else 0


_NOTHING_SAVED = _Saved(ClientUsage(open_uploads=0, bytes_today=0))


class ClientLimits:
    """Admits uploads and counts their bytes; `run` saves the counts."""

    def __init__(self, store: ClientStore, *, address: Quota, account: Quota) -> None:
        """Set the quotas of each address and of each account."""
        self._store = store
        self._address = address
        self._account = account
        self._unsaved: Counter[str] = Counter()
        # Of the clients of recent batches.
        self._saved: LRUCache[str, _Saved] = LRUCache(MAX_REMEMBERED_CLIENTS)
        self._saving = asyncio.Lock()
        # How many takes each client is sending that have no row yet.
        self._takes: Counter[str] = Counter()

    async def admit(self, client: str, size: int = 0) -> None:
        """Check that a client may create an upload. size: bytes of the file, if known.

        Errors: TooManyOpenUploads, DailyBytesExceeded, DatabaseUnavailable.
        """
        if self._quota_of(client).is_unlimited:
            return
        usage = await self._store.usage_of(client)
        self._saved[client] = _Saved(usage)
        self._require_place(client, usage.open_uploads)
        # Without a size, the upload has 1 byte or more.
        self._require_room(client, usage.bytes_today + self._unsaved[client] + max(size, 1))

    @contextmanager
    def admit_take(self, client: str) -> Iterator[None]:
        """Admit a take without a row, and count it until it ends or has a row.

        Reads no row: the next batch corrects counts that are not known yet.
        Errors: TooManyOpenUploads, DailyBytesExceeded.
        """
        if self._quota_of(client).is_unlimited:
            yield
            return
        # Even if nothing of the take is counted, the next batch reads the counts.
        self._unsaved[client] += 0
        saved = self._saved.get(client, _NOTHING_SAVED)
        self._require_place(client, saved.open_uploads)
        self._require_room(client, saved.bytes_today + self._unsaved[client] + 1)
        self._takes[client] += 1
        try:
            yield
        finally:
            self._takes[client] -= 1
            if not self._takes[client]:
                del self._takes[client]

    def count(self, client: str, size: int) -> None:
        """Count bytes that a client has sent. Errors: DailyBytesExceeded."""
        if self._quota_of(client).daily_bytes:
            self._unsaved[client] += size
            saved = self._saved.get(client, _NOTHING_SAVED)
            self._require_room(client, saved.bytes_today + self._unsaved[client])

    async def run(self) -> None:
        """Save the counts periodically until cancelled, then save the remaining ones."""
        try:
            await PeriodicTask("client limits", self._save_to_end, BATCH_SECONDS).run()
        finally:
            try:
                await self.save()
            except Exception:
                _logger.exception("bytes of clients lost at shutdown")

    async def save(self) -> None:
        """Save the counts. After an error they stay in memory for the next batch."""
        async with self._saving:
            received, self._unsaved = self._unsaved, Counter()
            try:
                if received:
                    usages = await self._store.add_bytes(received)
                    self._saved.update({name: _Saved(usages[name]) for name in usages})
            except Exception:
                self._unsaved += received
                raise

    async def _save_to_end(self) -> None:
        # If a statement is cancelled, PostgreSQL may or may not have counted the bytes.
        await asyncio.shield(self.save())

    def _quota_of(self, client: str) -> Quota:
        return self._account if client.startswith(_ACCOUNT) else self._address

    def _require_place(self, client: str, open_uploads: int) -> None:
        limit, used = self._quota_of(client).open_uploads, open_uploads + self._takes[client]
        if limit and used >= limit:
            raise TooManyOpenUploads(limit=limit, seconds=OPEN_RETRY_SECONDS)

    def _require_room(self, client: str, size: int) -> None:
        limit = self._quota_of(client).daily_bytes
        if limit and size > limit:
            raise DailyBytesExceeded(limit_bytes=limit, seconds=_until_midnight())


def _until_midnight() -> int:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return int((midnight - now).total_seconds()) + 1
