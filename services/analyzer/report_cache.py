"""What is remembered of jobs that ended lately, in bounded memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class _Ended:
    report: bytes
    forgotten_at: float


class ReportCache:
    """Reports of ended jobs, each kept until it is too old or there is no room.

    For want of room go first the oldest that were delivered, then the oldest of
    all: an undelivered report is nowhere else.
    """

    def __init__(self, seconds: float, most: int, most_bytes: int) -> None:
        """Remember at most `most` reports of `most_bytes` together, each for `seconds`."""
        self._seconds = seconds
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._delivered: dict[UUID, _Ended] = {}
        self._undelivered: dict[UUID, _Ended] = {}

    def __len__(self) -> int:
        return len(self._delivered) + len(self._undelivered)

    def remember(self, job_id: UUID, report: bytes, *, delivered: bool) -> None:
        """Keep a report instead of any that the job had."""
        for ended in (self._delivered, self._undelivered):
            if job_id in ended:
                self._drop(ended, job_id)
        ended = self._delivered if delivered else self._undelivered
        ended[job_id] = _Ended(report, time.monotonic() + self._seconds)
        self._bytes += len(report)
        self._make_room()

    def report(self, job_id: UUID) -> bytes | None:
        """The report of a job, if it is remembered."""
        self._forget_old()
        ended = self._delivered.get(job_id) or self._undelivered.get(job_id)
        return ended.report if ended else None

    def take_undelivered(self, job_id: UUID) -> bytes | None:
        """The report of a job, if it is remembered and was not delivered; it is forgotten here."""
        self._forget_old()
        return self._drop(self._undelivered, job_id) if job_id in self._undelivered else None

    def _make_room(self) -> None:
        while len(self) > self._most or self._bytes > self._most_bytes:
            ended = self._delivered or self._undelivered
            self._drop(ended, next(iter(ended)))

    def _forget_old(self) -> None:
        """Drop what is too old; the oldest come first."""
        now = time.monotonic()
        for ended in (self._delivered, self._undelivered):
            while ended and ended[oldest := next(iter(ended))].forgotten_at <= now:
                self._drop(ended, oldest)

    def _drop(self, ended: dict[UUID, _Ended], job_id: UUID) -> bytes:
        report = ended.pop(job_id).report
        self._bytes -= len(report)
        return report
