"""The reaper of jobs that clients deleted or that ended long ago, with their recordings."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from services.analysis.store import DELETION_DELAY, ExpiredJobs
from services.runtime.object_store import ObjectStore

INTERVAL_SECONDS = 60.0
BATCH = 100

_logger = structlog.get_logger(__name__)


class JobReaper:
    """Deletes jobs and their recordings. Any number of processes may run one."""

    def __init__(self, expired: ExpiredJobs, objects: ObjectStore, age: timedelta | None) -> None:
        """Create a reaper.

        age: how long ago a job must have ended; None keeps all jobs that no client deleted.
        """
        self._expired = expired
        self._objects = objects
        self._age = age

    async def reap(self) -> bool:
        """Delete the oldest jobs; returns whether there may be more.

        Errors: DatabaseUnavailable, StorageUnavailable.
        """
        deleted = await self._expired.find_deleted(DELETION_DELAY, BATCH)
        await self._delete(deleted, "deleted")
        expired = [] if self._age is None else await self._expired.find(self._age, BATCH)
        await self._delete(expired, "expired")
        return BATCH in (len(deleted), len(expired))

    async def _delete(self, found: list[tuple[UUID, str | None]], why: str) -> None:
        # Recordings first: without the job's row, a recording would never be deleted.
        for _, object_key in found:
            if object_key is not None:
                await self._objects.delete(object_key)
        if found:
            await self._expired.delete(job_id for job_id, _ in found)
            _logger.info("jobs reaped", jobs=len(found), why=why)
