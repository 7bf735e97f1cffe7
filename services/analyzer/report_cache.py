"""The report cache: the final reports of recent jobs, in bounded memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class _Entry:
    report: bytes
    expires_at: float


class ReportCache:
    """The reports of ended jobs, until they expire or the cache is full.

    A full cache evicts the oldest delivered report. Only without delivered reports does it
    evict the oldest undelivered one, because no other copy of it exists.
    """

    def __init__(self, seconds: float, max_reports: int, max_bytes: int) -> None:
        """Create a cache.

        seconds: how long each report is kept.
        max_bytes: the limit for all reports together.
        """
        self._seconds = seconds
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._bytes = 0
        self._delivered: dict[UUID, _Entry] = {}
        self._undelivered: dict[UUID, _Entry] = {}

    def __len__(self) -> int:
        return len(self._delivered) + len(self._undelivered)

    def put(self, job_id: UUID, report: bytes, *, delivered: bool) -> None:
        """Store the report of a job, and replace an earlier one."""
        for entries in (self._delivered, self._undelivered):
            if job_id in entries:
                self._remove(entries, job_id)
        entries = self._delivered if delivered else self._undelivered
        entries[job_id] = _Entry(report, time.monotonic() + self._seconds)
        self._bytes += len(report)
        self._evict()

    def get(self, job_id: UUID) -> bytes | None:
        """The report of a job; None if the cache does not have it."""
        self._remove_expired()
        entry = self._delivered.get(job_id) or self._undelivered.get(job_id)
        return entry.report if entry else None

    def pop_undelivered(self, job_id: UUID) -> bytes | None:
        """Remove and return the report of a job; None if it is missing or was delivered."""
        self._remove_expired()
        return self._remove(self._undelivered, job_id) if job_id in self._undelivered else None

    def _evict(self) -> None:
        while len(self) > self._max_reports or self._bytes > self._max_bytes:
            entries = self._delivered or self._undelivered
            self._remove(entries, next(iter(entries)))

    def _remove_expired(self) -> None:
        """Remove the expired entries, which come first."""
        now = time.monotonic()
        for entries in (self._delivered, self._undelivered):
            while entries and entries[oldest := next(iter(entries))].expires_at <= now:
                self._remove(entries, oldest)

    def _remove(self, entries: dict[UUID, _Entry], job_id: UUID) -> bytes:
        report = entries.pop(job_id).report
        self._bytes -= len(report)
        return report
