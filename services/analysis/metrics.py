"""Metrics of the job queue, which operators alert and scale by."""

from __future__ import annotations

from math import nan

from prometheus_client import Gauge

from services.analysis.store import JobQueue

INTERVAL_SECONDS = 5.0


class QueueMetrics:
    """The number of due jobs and the age of the oldest; every worker shows the same values."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        # Created here and not at import: a process that only serves calls has no values.
        self._jobs_due = Gauge(
            "sori_analysis_jobs_due",
            "Jobs in the queue whose dispatch is due and that no worker has claimed.",
        )
        self._oldest_due_seconds = Gauge(
            "sori_analysis_oldest_due_seconds",
            "Seconds since the oldest of these jobs became due; 0 when no job is due.",
        )

    async def refresh(self) -> None:
        """Read the queue. Errors: DatabaseUnavailable."""
        # Unknown is not 0: an alert must not resolve because the database is down.
        jobs, oldest_seconds = nan, nan
        try:
            jobs, oldest_seconds = await self._queue.due()
        finally:
            self._jobs_due.set(jobs)
            self._oldest_due_seconds.set(oldest_seconds)
