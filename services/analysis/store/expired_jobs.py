"""Jobs that the reaper deletes, with their recordings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, exists, func, select

from services.analysis.store.rows import is_any_of
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change

DELETION_DELAY = timedelta(seconds=60)
"""How long a deleted job stays stored. Its watchers learn its end in seconds."""


@retried_on_schema_change
class ExpiredJobs:
    """Finds jobs that clients deleted or that ended long ago, and deletes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, age: timedelta, limit: int) -> list[tuple[UUID, str | None]]:
        """Find jobs that ended longer than `age` ago, oldest first.

        Returns their ids and the keys of their recordings, without a key when the job
        has no recording, or was retried: then the recording belongs to the retry.
        """
        retry = jobs.alias("retry")
        is_retried = exists().where(retry.c.retried_job_id == jobs.c.job_id)
        return await self._read(
            select(jobs.c.job_id, case((~is_retried, jobs.c.object_key)))
            .where(jobs.c.end_time < func.now() - age)
            .order_by(jobs.c.end_time)
            .limit(limit)
        )

    async def find_deleted(self, age: timedelta, limit: int) -> list[tuple[UUID, str | None]]:
        """Find jobs that a client deleted longer than `age` ago, oldest first.

        Returns their ids and the keys of their recordings, if they have one.
        """
        return await self._read(
            select(jobs.c.job_id, jobs.c.object_key)
            .where(jobs.c.delete_time < func.now() - age)
            .order_by(jobs.c.delete_time)
            .limit(limit)
        )

    async def delete(self, job_ids: Iterable[UUID]) -> None:
        """Delete jobs with their histories."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(jobs).where(is_any_of(job_ids)))

    async def _read(self, statement: Any) -> list[tuple[UUID, str | None]]:
        async with self._database.transaction() as connection:
            return [(row[0], row[1]) for row in await connection.execute(statement)]
