"""Jobs that clients and operators delete.

A deletion marks the job, so that no read finds it. The reaper then deletes the recording
and the row, also after a crash in between.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.errors import JobNotFound
from services.analysis.jobs import CANCELLED, Event
from services.analysis.store.job_reads import Filter, conditions_of
from services.analysis.store.rows import AnyRow
from services.analysis.store.transitions import OnTransition, Transition, apply, locked_row
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class Deletions:
    """Deletes jobs. All jobs of one recording, a failed one and its retries, go together."""

    def __init__(self, database: Database, on_transition: OnTransition = lambda *_: None) -> None:
        self._database = database
        self._on_transition = on_transition

    async def delete(self, job_id: UUID) -> None:
        """Delete a job and the others of its recording; those under way are cancelled.

        Their request ids are free again. Errors: JobNotFound.
        """
        cancelled: list[tuple[UUID, Transition]] = []
        values = {"failure_reason": CANCELLED}
        marks = {"delete_time": func.now(), "request_id": None}
        async with self._database.transaction() as connection:
            for row in await _locked_rows_of_recording(connection, job_id):
                transition = await apply(connection, row, Event.CANCELLED, values, marks)
                cancelled.append((row.job_id, transition))
        for cancelled_id, transition in cancelled:
            if transition.after is not None:
                self._on_transition(cancelled_id, transition.after)

    async def delete_some(self, wanted: Filter, limit: int) -> int:
        """Delete up to `limit` jobs that match a filter; returns how many matched."""
        statement = select(jobs.c.job_id).where(*conditions_of(wanted)).limit(limit)
        async with self._database.transaction() as connection:
            job_ids = (await connection.scalars(statement)).all()
        for job_id in job_ids:
            try:
                await self.delete(job_id)
            except JobNotFound:
                # Deleted with another job of its recording, or by another client.
                continue
        return len(job_ids)

    async def count(self, wanted: Filter) -> int:
        """The number of jobs that match a filter."""
        statement = select(func.count()).select_from(jobs).where(*conditions_of(wanted))
        async with self._database.transaction() as connection:
            return int(await connection.scalar(statement) or 0)


async def _locked_rows_of_recording(connection: AsyncConnection, job_id: UUID) -> list[AnyRow]:
    """The job, the failed jobs that it retries, and its retries, all locked.

    They are locked from the oldest to the newest, so that two deletions do not wait for
    each other, and no retry is created meanwhile.
    """
    oldest = job_id
    while (retried := await connection.scalar(_retried_by(oldest))) is not None:
        oldest = retried
    rows: list[AnyRow] = []
    newer: UUID | None = oldest
    while newer is not None:
        rows.append(await locked_row(connection, newer))
        retry = select(jobs.c.job_id).where(jobs.c.retried_job_id == newer)
        newer = await connection.scalar(retry)
    return rows


def _retried_by(job_id: UUID) -> Any:
    """The statement that finds the job that a job retries, if it is still stored."""
    retry = jobs.alias("retry")
    is_retried = jobs.c.job_id == retry.c.retried_job_id
    return select(jobs.c.job_id).join(retry, is_retried).where(retry.c.job_id == job_id)
