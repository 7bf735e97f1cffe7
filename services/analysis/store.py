"""All SQL of analyses.

Every change of a job is one statement that names the states it may start from,
so that of two racing events only one moves the job, and sends a notice on
CHANGED in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.jobs import ENDS, MOVES, PROGRESS, Dispatch, Event, Job, Recording, State
from services.analysis.tables import jobs
from services.runtime.database import Database
from services.runtime.errors import JobNotFound

CHANGED = "analysis_job_changed"
"""The channel of notices; the payload is "<state> <job_id>"."""

_JOB_COLUMNS = (
    jobs.c.job_id,
    jobs.c.token_id,
    jobs.c.state,
    jobs.c.progress,
    jobs.c.revision,
    jobs.c.result,
    jobs.c.failure_reason,
    jobs.c.failure_message,
)


class JobStore:
    """Reads and moves jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, job_id: UUID, token_id: int, timeout: timedelta) -> None:
        """Store a new job that fails unless its recording comes in time.

        A repeated call changes nothing.
        """
        statement = postgresql.insert(jobs).values(
            job_id=job_id,
            token_id=token_id,
            state=State.OPENED,
            progress=PROGRESS[State.OPENED],
            due_time=func.now() + timeout,
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement.on_conflict_do_nothing())

    async def get(self, job_id: UUID) -> Job:
        """Read a job. Errors: JobNotFound."""
        found = await self.get_many([job_id])
        if not found:
            raise JobNotFound(job_id=job_id)
        return found[0]

    async def get_many(self, job_ids: Iterable[UUID]) -> list[Job]:
        """Read those of the jobs that exist, in any order."""
        statement = select(*_JOB_COLUMNS).where(jobs.c.job_id.in_(list(job_ids)))
        async with self._database.transaction() as connection:
            return [_job(row) for row in await connection.execute(statement)]

    async def start_upload(self, job_id: UUID) -> bool:
        """The recording is on its way to S3."""
        return await self._move(job_id, Event.UPLOAD_STARTED)

    async def fail_upload(self, job_id: UUID, reason: str) -> bool:
        """The recording will not come."""
        return await self._move(job_id, Event.UPLOAD_FAILED, failure_reason=reason)

    async def attach(self, job_id: UUID, recording: Recording) -> bool:
        """Store the recording and make its dispatch due."""
        return await self._move(
            job_id, Event.RECORDING_ATTACHED, due_time=func.now(), **asdict(recording)
        )

    async def has_recording(self, job_id: UUID) -> bool:
        """Whether a recording is attached to the job. Errors: JobNotFound."""
        statement = select(jobs.c.object_key.is_not(None)).where(jobs.c.job_id == job_id)
        async with self._database.transaction() as connection:
            attached = await connection.scalar(statement)
        if attached is None:
            raise JobNotFound(job_id=job_id)
        return bool(attached)

    async def complete(self, job_id: UUID, result: bytes) -> bool:
        """Results came; `result` is a serialized google.protobuf.Struct."""
        return await self._move(job_id, Event.RESULTS_REPORTED, result=result)

    async def fail(self, job_id: UUID, reason: str, message: str) -> bool:
        """The analysis server reported a failure."""
        return await self._move(
            job_id, Event.FAILURE_REPORTED, failure_reason=reason, failure_message=message
        )

    async def claim(self, limit: int, lease: timedelta) -> list[Dispatch]:
        """Take up to `limit` due dispatches for the length of `lease`.

        Each counts as an attempt. One whose worker does not come back within the
        lease is due again.
        """
        due = (
            select(jobs.c.job_id)
            .where(jobs.c.due_time <= func.now(), jobs.c.state == State.QUEUED)
            .order_by(jobs.c.due_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(jobs)
            .where(jobs.c.job_id.in_(due.scalar_subquery()))
            .values(attempts=jobs.c.attempts + 1, due_time=func.now() + lease)
            .returning(jobs.c.job_id, jobs.c.token_id, jobs.c.object_key, jobs.c.attempts)
        )
        async with self._database.transaction() as connection:
            return [Dispatch(*row) for row in await connection.execute(statement)]

    async def extend_lease(self, dispatch: Dispatch, lease: timedelta) -> bool:
        """Keep a claimed dispatch for the length of `lease` from now."""
        return await self._reschedule(dispatch, lease)

    async def accept_dispatch(self, dispatch: Dispatch, timeout: timedelta) -> bool:
        """The analysis server took the job; it fails unless a report comes in time."""
        return await self._move(
            dispatch.job_id,
            Event.DISPATCH_ACCEPTED,
            attempt=dispatch.attempt,
            due_time=func.now() + timeout,
        )

    async def fail_dispatch(self, dispatch: Dispatch, reason: str) -> bool:
        """No further attempt makes sense."""
        return await self._move(
            dispatch.job_id,
            Event.DISPATCH_FAILED,
            attempt=dispatch.attempt,
            failure_reason=reason,
        )

    async def postpone_dispatch(self, dispatch: Dispatch, pause: timedelta) -> bool:
        """Try again after a pause."""
        return await self._reschedule(dispatch, pause)

    async def time_out(self) -> int:
        """Fail every job whose recording or report is overdue; returns how many."""
        move = MOVES[Event.TIMED_OUT]
        overdue = (
            select(jobs.c.job_id)
            .where(jobs.c.due_time <= func.now(), jobs.c.state.in_(move.sources))
            .with_for_update(skip_locked=True)
        )
        reason = case(
            (jobs.c.state == State.DISPATCHED, "ANALYSIS_TIMED_OUT"), else_="UPLOAD_TIMED_OUT"
        )
        statement = (
            update(jobs)
            .where(jobs.c.job_id.in_(overdue.scalar_subquery()))
            .values(_changes(move.target) | {"failure_reason": reason})
            .returning(jobs.c.job_id)
        )
        async with self._database.transaction() as connection:
            job_ids = (await connection.scalars(statement)).all()
            for job_id in job_ids:
                await _notify(connection, move.target, job_id)
        return len(job_ids)

    async def _reschedule(self, dispatch: Dispatch, pause: timedelta) -> bool:
        statement = (
            update(jobs)
            .where(
                jobs.c.job_id == dispatch.job_id,
                jobs.c.state == State.QUEUED,
                jobs.c.attempts == dispatch.attempt,
            )
            .values(due_time=func.now() + pause)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def _move(
        self, job_id: UUID, event: Event, attempt: int | None = None, **values: object
    ) -> bool:
        """Move a job as `event` says; False when its state does not allow it.

        attempt: the dispatch attempt that moves it; a later attempt refuses.
        """
        move = MOVES[event]
        statement = (
            update(jobs)
            .where(jobs.c.job_id == job_id, jobs.c.state.in_(move.sources))
            .values(_changes(move.target) | values)
        )
        if attempt is not None:
            statement = statement.where(jobs.c.attempts == attempt)
        async with self._database.transaction() as connection:
            moved = (await connection.execute(statement)).rowcount == 1
            if moved:
                await _notify(connection, move.target, job_id)
        return moved


def _changes(target: State) -> dict[str, Any]:
    changes = {
        "state": target,
        "progress": PROGRESS.get(target, jobs.c.progress),
        "revision": jobs.c.revision + 1,
        "update_time": func.now(),
    }
    return changes | {"due_time": None} if target in ENDS else changes


async def _notify(connection: AsyncConnection, state: State, job_id: UUID) -> None:
    await connection.execute(select(func.pg_notify(CHANGED, f"{state} {job_id}")))


def _job(row: Any) -> Job:
    return Job(**{**row._mapping, "state": State(row.state)})
