"""Forgetting jobs that ended long ago, with their recordings."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from services.analysis.store import JobStore
from services.runtime.errors import DatabaseUnavailable, StorageUnavailable
from services.runtime.object_store import ObjectStore

BATCH = 100
PAUSE_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


class JobReaper:
    """Deletes what is older than its age; may run in any number of processes."""

    def __init__(self, store: JobStore, objects: ObjectStore, age: timedelta) -> None:
        self._store = store
        self._objects = objects
        self._age = age

    async def run(self) -> None:
        """Delete for ever."""
        while True:
            try:
                while deleted := await self.delete_batch():
                    _logger.info("expired jobs deleted", jobs=deleted)
            except (DatabaseUnavailable, StorageUnavailable) as error:
                _logger.warning("expired jobs wait", reason=error.reason)
            await asyncio.sleep(PAUSE_SECONDS)

    async def delete_batch(self) -> int:
        """Delete the oldest; returns how many.

        Errors: DatabaseUnavailable, StorageUnavailable.
        """
        expired = await self._store.expired(self._age, BATCH)
        # The recordings first: without its row nobody would find a recording again.
        for _, object_key in expired:
            if object_key is not None:
                await self._objects.delete(object_key)
        if expired:
            await self._store.delete(job_id for job_id, _ in expired)
        return len(expired)
