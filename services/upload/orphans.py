"""Deletes recordings that no job has.

A take that arrives at once is stored before analysis knows of it. If the process dies in
between, or the answer of analysis is lost, nothing names the object. The keys of recordings
begin with an hour, so this reaper lists hours that are over, and asks analysis which jobs
exist. Analysis refuses ids of jobs that are older than an hour, so a job that does not
exist after ORPHAN_AGE never will.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from services.runtime.object_store import ObjectStore
from services.upload.clients import AnalysisClient
from services.upload.models import recordings_prefix

ORPHAN_AGE = timedelta(hours=2)
"""How long after its hour a recording is checked: an hour more than analysis needs."""

PAGE = 1_000
"""How many recordings are listed at a time: as many as S3 lists in one request."""

PLAUSIBLE_ORPHANS = 100
"""If a page has more orphans, and more orphans than jobs, analysis has lost its database."""

HOUR = timedelta(hours=1)

_logger = structlog.get_logger(__name__)


class OrphanReaper:
    """Checks each recording once; its position is in memory, so every replica checks all."""

    def __init__(
        self,
        objects: ObjectStore,
        analysis: AnalysisClient,
        lookback: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """lookback: how far in the past the first hour to be checked is."""
        self._objects = objects
        self._analysis = analysis
        self._now = now
        self._hour = _hour_of(now() - lookback)
        self._last_key = ""

    async def reap(self) -> None:
        """Check the next page of recordings, if one is old enough.

        Errors: StorageUnavailable, AnalysisUnavailable; the next run repeats the page.
        """
        if self._now() < self._hour + HOUR + ORPHAN_AGE:
            return
        keys, has_more = await self._objects.list_page(
            recordings_prefix(self._hour), after=self._last_key, limit=PAGE
        )
        await self._delete_orphans(keys)
        if has_more and keys:
            self._last_key = keys[-1]
        else:
            self._hour, self._last_key = self._hour + HOUR, ""

    async def _delete_orphans(self, keys: list[str]) -> None:
        jobs = {job_id: key for key in keys if (job_id := _job_of(key)) is not None}
        if not jobs:
            return
        orphans = jobs.keys() - await self._analysis.existing_jobs(jobs)
        if len(orphans) > max(PLAUSIBLE_ORPHANS, len(jobs) / 2):
            _logger.error(
                "recordings without a job kept: too many to be the work of crashes",
                hour=self._hour.isoformat(),
                recordings=len(jobs),
                without_job=len(orphans),
                advice="Check that analysis uses the right database, and whether it was restored.",
            )
            return
        for job_id in orphans:
            await self._objects.delete(jobs[job_id])
            _logger.info("recording without a job deleted", job_id=str(job_id))


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _job_of(key: str) -> UUID | None:
    """The job in a key of `recording_key`; None for other objects."""
    try:
        return UUID(key.rpartition("/")[2])
    except ValueError:
        return None
