"""What operators scale and alert by: how many jobs wait for a worker, and for how long."""

from __future__ import annotations

import asyncio
from math import nan

from prometheus_client import Gauge

from services.analysis.store import JobQueue
from services.runtime.errors import DatabaseUnavailable

INTERVAL_SECONDS = 5.0


class QueueMetrics:
    """Keeps the metrics of the queue fresh; every worker tells the same ones."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        # Made here, because who only serves calls does not know.
        self._jobs_due = Gauge(
            "sori_analysis_jobs_due",
            "Jobs of the whole queue whose dispatch is due and that no worker has taken.",
        )
        self._oldest_due_seconds = Gauge(
            "sori_analysis_oldest_due_seconds",
            "How long the first of them has been due; 0 without any.",
        )

    async def run(self) -> None:
        """Look at the queue for ever."""
        while True:
            await self._look()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _look(self) -> None:
        try:
            jobs, oldest_seconds = await self._queue.due()
        except DatabaseUnavailable:
            # Unknown is not none.
            self._jobs_due.set(nan)
            self._oldest_due_seconds.set(nan)
        else:
            self._jobs_due.set(jobs)
            self._oldest_due_seconds.set(oldest_seconds)
