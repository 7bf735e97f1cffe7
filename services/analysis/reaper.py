"""The reaper of jobs that ended long ago, with their recordings."""

from __future__ import annotations

from datetime import timedelta

import structlog

from services.analysis.store import ExpiredJobs
from services.runtime.object_store import ObjectStore

INTERVAL_SECONDS = 60.0
BATCH = 100

_logger = structlog.get_logger(__name__)


class JobReaper:
    """Deletes jobs that ended longer ago than `age`. Any number of processes may run one."""

    def __init__(self, expired: ExpiredJobs, objects: ObjectStore, age: timedelta) -> None:
        self._expired = expired
        self._objects = objects
        self._age = age

    async def reap(self) -> bool:
        """Delete the oldest jobs; returns whether there may be more.

        Errors: DatabaseUnavailable, StorageUnavailable.
        """
        expired = await self._expired.find(self._age, BATCH)
        # Recordings first: without the job's row, a recording would never be deleted.
        for _, object_key in expired:
            if object_key is not None:
                await self._objects.delete(object_key)
        if expired:
            await self._expired.delete(job_id for job_id, _ in expired)
            _logger.info("expired jobs deleted", jobs=len(expired))
        return len(expired) == BATCH
