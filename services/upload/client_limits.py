"""Limits per client: how many uploads it may have open, and how many bytes it may send a day.

A client is a key: its network address, or its account once accounts exist. PostgreSQL has
the counts, because a limit holds for all replicas and after a restart. Bytes are added to
them in batches, so that an upload costs no transaction more. A client can exceed the limit
by what it sends between two batches, and by the uploads that it creates at the same moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog

from services.runtime.periodic import PeriodicTask
from services.upload.client_store import ClientStore
from services.upload.errors import DailyBytesExceeded, TooManyOpenUploads

BATCH_SECONDS = 1.0
OPEN_RETRY_SECONDS = 30
"""A client cannot know when its uploads end, so it tries again after this time."""

_logger = structlog.get_logger(__name__)


class ClientLimits:
    """Admits uploads and counts their bytes; `run` saves the counts."""

    def __init__(self, store: ClientStore, *, open_uploads: int, daily_bytes: int) -> None:
        """Set the limits of each client; 0 is unlimited."""
        self._store = store
        self._open_uploads = open_uploads
        self._daily_bytes = daily_bytes
        self._unsaved: Counter[str] = Counter()
        # Today's sums of the clients of the last batch. An absent client sent nothing then.
        self._saved: dict[str, int] = {}
        self._saving = asyncio.Lock()

    async def admit(self, client: str, size: int = 0) -> None:
        """Check that a client may create an upload. size: bytes of the file, if known.

        Errors: TooManyOpenUploads, DailyBytesExceeded, DatabaseUnavailable.
        """
        if not self._open_uploads and not self._daily_bytes:
            return
        usage = await self._store.usage_of(client)
        if self._open_uploads and usage.open_uploads >= self._open_uploads:
            raise TooManyOpenUploads(limit=self._open_uploads, seconds=OPEN_RETRY_SECONDS)
        # Without a size, the upload has 1 byte or more.
        self._require_room(usage.bytes_today + self._unsaved[client] + max(size, 1))

    def count(self, client: str, size: int) -> None:
        """Count bytes that a client has sent. Errors: DailyBytesExceeded."""
        if self._daily_bytes:
            self._unsaved[client] += size
            self._require_room(self._saved.get(client, 0) + self._unsaved[client])

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
                self._saved = await self._store.add_bytes(received) if received else {}
            except Exception:
                self._unsaved += received
                raise

    async def _save_to_end(self) -> None:
        # If a statement is cancelled, PostgreSQL may or may not have counted the bytes.
        await asyncio.shield(self.save())

    def _require_room(self, size: int) -> None:
        if self._daily_bytes and size > self._daily_bytes:
            raise DailyBytesExceeded(limit_bytes=self._daily_bytes, seconds=_until_midnight())


def _until_midnight() -> int:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return int((midnight - now).total_seconds()) + 1
