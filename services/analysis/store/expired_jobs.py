"""Ended jobs that are old enough to be deleted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import case, delete, exists, func, select

from services.analysis.store.rows import is_any_of
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class ExpiredJobs:
    """Finds and deletes jobs that ended long ago."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, age: timedelta, limit: int) -> list[tuple[UUID, str | None]]:
        """Find jobs that ended longer than `age` ago, oldest first.

        Returns their ids and the keys of their recordings, without a key when the job
        has no recording, or was retried: then the recording belongs to the retry.
        """
        retry = jobs.alias("retry")
        is_retried = exists().where(retry.c.retried_job_id == jobs.c.job_id)
        statement = (
            select(jobs.c.job_id, case((~is_retried, jobs.c.object_key)))
            .where(jobs.c.end_time < func.now() - age)
            .order_by(jobs.c.end_time)
            .limit(limit)
        )
        async with self._database.transaction() as connection:
            return [(row[0], row[1]) for row in await connection.execute(statement)]

    async def delete(self, job_ids: Iterable[UUID]) -> None:
        """Delete jobs with their histories."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(jobs).where(is_any_of(job_ids)))
