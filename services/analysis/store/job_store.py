"""Jobs as uploads, reports and clients see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.errors import JobNotFound
from services.analysis.jobs import (
    CANCELLED,
    PROGRESS,
    UPLOAD_SUPERSEDED,
    Analysis,
    Event,
    Job,
    Recording,
    State,
)
from services.analysis.store.reuse import Reuse, copied_result, donor_of
from services.analysis.store.rows import (
    HISTORY_COLUMNS,
    JOB_COLUMNS,
    RECORDING_COLUMNS,
    AnyRow,
    among,
    analysis_of,
    attempt_of,
    job_of,
)
from services.analysis.store.transitions import Changed, Transition, locked, until, write
from services.analysis.tables import attempts, jobs
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.shared_errors import RequestIdReused

REQUEST_ID_KEPT = timedelta(hours=24)
"""How long a request id names the same job."""


@dataclass(frozen=True)
class Attached:
    """The recording that a request id has brought already. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


@dataclass(frozen=True)
class Filter:
    """Which analyses a list has. Times: from the first, before the second."""

    token_id: int | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


class JobStore:
    """Reads and moves jobs."""

    def __init__(self, database: Database, changed: Changed = lambda *_: None) -> None:
        self._database = database
        self._changed = changed

    # Uploads.

    async def open(
        self, job_id: UUID, token_id: int, timeout: timedelta, request_id: str | None = None
    ) -> Attached | None:
        """Store a new job that fails unless it is heard of in time.

        A repeated call changes nothing. When the request id has brought a recording
        before, no job is stored and that recording is returned; an upload under way
        with it is superseded.
        Errors: RequestIdReused.
        """
        # Twice at most: a racing call with the same request id may be first.
        for _ in range(2):
            async with self._database.transaction() as connection:
                named = await _named(connection, request_id)
                if named is not None and named.job_id != job_id:
                    if named.fresh and named.token_id != token_id:
                        raise RequestIdReused
                    if named.fresh and named.sha256 is not None:
                        return Attached(named.job_id, named.sha256)
                    superseded = await _give_up_request_id(connection, named.job_id)
                else:
                    superseded = None
                opened = await _open(connection, job_id, token_id, timeout, request_id)
            if superseded is not None:
                self._changed(*superseded)
            if opened:
                return None
        raise DatabaseUnavailable

    async def start_upload(self, job_id: UUID, timeout: timedelta) -> Transition:
        """The recording is on its way to S3, and to be heard of again in time."""
        return await self._move(job_id, Event.UPLOAD_STARTED, until(timeout))

    async def fail_upload(self, job_id: UUID, reason: str) -> Transition:
        """The recording will not come."""
        return await self._move(job_id, Event.UPLOAD_FAILED, {"failure_reason": reason})

    async def attach(
        self,
        job_id: UUID,
        recording: Recording,
        token_revision: int,
        timeout: timedelta,
        reuse: Reuse | None,
    ) -> Transition:
        """Store the recording and make its dispatch due, or complete the job at once.

        timeout: how long its dispatch may take, with all attempts. reuse: whether a
        stored result of the same recording will do.
        """
        stored = asdict(recording) | {"token_revision": token_revision}
        async with self._database.transaction() as connection:
            row = await locked(connection, job_id)
            donor = None
            if reuse is not None and token_revision:
                donor = await donor_of(
                    connection, recording.sha256, row.token_id, token_revision, reuse
                )
            if donor is None:
                due = {"due_time": func.now(), "deadline": func.now() + timeout}
                event, values = Event.RECORDING_ATTACHED, stored | due
            else:
                event, values = Event.RESULT_REUSED, stored | copied_result(donor)
            transition = await write(connection, row, event, values)
        self._tell(job_id, transition)
        return transition

    # Reports.

    async def complete(self, job_id: UUID, result: bytes, analyzer_version: str) -> Transition:
        """Results came; `result` is a serialized google.protobuf.Struct."""
        values = {"result": result, "analyzer_version": analyzer_version}
        return await self._move(job_id, Event.RESULTS_REPORTED, values)

    async def fail(self, job_id: UUID, reason: str, message: str) -> Transition:
        """The analysis server reported a failure."""
        values = {"failure_reason": reason, "failure_message": message}
        return await self._move(job_id, Event.FAILURE_REPORTED, values)

    async def advance(self, job_id: UUID, progress: int, stage: str) -> Transition:
        """The analysis server reported how far it is, 0 to 100, and what it does."""
        values = {"progress": func.greatest(jobs.c.progress, progress), "stage": stage}
        return await self._move(job_id, Event.PROGRESS_REPORTED, values)

    # Clients.

    async def get(self, job_id: UUID) -> Job:
        """Read a job. Errors: JobNotFound."""
        found = await self.get_many([job_id])
        if not found:
            raise JobNotFound(job_id=job_id)
        return found[0]

    async def get_many(self, job_ids: Iterable[UUID]) -> list[Job]:
        """Read those of the jobs that exist, in any order."""
        statement = select(*JOB_COLUMNS).where(among(job_ids))
        async with self._database.transaction() as connection:
            return [job_of(row) for row in await connection.execute(statement)]

    async def revisions(self, job_ids: Iterable[UUID]) -> dict[UUID, int]:
        """The revisions of those of the jobs that exist."""
        statement = select(jobs.c.job_id, jobs.c.revision).where(among(job_ids))
        async with self._database.transaction() as connection:
            return {row.job_id: row.revision for row in await connection.execute(statement)}

    async def analysis(self, job_id: UUID) -> Analysis:
        """Read a job whole, with its attempts. Errors: JobNotFound."""
        statement = select(*JOB_COLUMNS, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
        history = (
            select(attempts)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.number, attempts.c.end_time)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement.where(jobs.c.job_id == job_id))).first()
            if row is None:
                raise JobNotFound(job_id=job_id)
            entries = tuple(attempt_of(entry) for entry in await connection.execute(history))
        return analysis_of(row, entries)

    async def page(
        self, wanted: Filter, limit: int, position: tuple[datetime, UUID] | None
    ) -> list[Analysis]:
        """Read up to `limit` analyses after `position`, the newest first, without results."""
        light = [column for column in JOB_COLUMNS if column is not jobs.c.result]
        statement = (
            select(*light, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
            .where(*_conditions(wanted))
            .order_by(jobs.c.create_time.desc(), jobs.c.job_id.desc())
            .limit(limit)
        )
        if position is not None:
            here = tuple_(jobs.c.create_time, jobs.c.job_id)
            statement = statement.where(here < tuple_(*map(literal, position)))
        async with self._database.transaction() as connection:
            return [analysis_of(row) for row in await connection.execute(statement)]

    async def cancel(self, job_id: UUID) -> Transition:
        """A client cancels the job."""
        values = {"failure_reason": CANCELLED}
        return await self._move(job_id, Event.CANCELLED, values)

    async def retry(self, job_id: UUID, new_job_id: UUID, timeout: timedelta) -> UUID | None:
        """Open a job for the recording of a failed one, due at once.

        timeout: as in `attach`. Returns the job that retries, which may be of an
        earlier call; None when the job has not failed or has no recording.
        Errors: JobNotFound.
        """
        copied = (jobs.c.token_id, jobs.c.token_revision, *RECORDING_COLUMNS)
        fresh = {
            "job_id": literal(new_job_id),
            "retried_job_id": jobs.c.job_id,
            "state": literal(State.QUEUED.value),
            "progress": literal(PROGRESS[State.QUEUED]),
            "due_time": func.now(),
            "deadline": func.now() + timeout,
        }
        async with self._database.transaction() as connection:
            row = await locked(connection, job_id)
            retried = select(jobs.c.job_id).where(jobs.c.retried_job_id == job_id)
            earlier: UUID | None = await connection.scalar(retried)
            if earlier is not None:
                return earlier
            if row.state != State.FAILED or row.object_key is None:
                return None
            source = select(*copied, *fresh.values()).where(jobs.c.job_id == job_id)
            names = [*(column.name for column in copied), *fresh]
            await connection.execute(insert(jobs).from_select(names, source))
        self._changed(new_job_id, State.QUEUED)
        return new_job_id

    # Retention.

    async def expired(self, age: timedelta, limit: int) -> list[tuple[UUID, str | None]]:
        """Jobs that ended longer than `age` ago, the oldest first, with their recordings.

        The recording of a job that was retried belongs to the retry: None.
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
        """Forget jobs with all that is known of them."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(jobs).where(among(job_ids)))

    async def _move(self, job_id: UUID, event: Event, values: Mapping[str, Any]) -> Transition:
        async with self._database.transaction() as connection:
            row = await locked(connection, job_id)
            transition = await write(connection, row, event, values)
        self._tell(job_id, transition)
        return transition

    def _tell(self, job_id: UUID, transition: Transition) -> None:
        if transition.after is not None:
            self._changed(job_id, transition.after)


async def _named(connection: AsyncConnection, request_id: str | None) -> AnyRow | None:
    if request_id is None:
        return None
    fresh = (jobs.c.create_time > func.now() - REQUEST_ID_KEPT).label("fresh")
    statement = (
        select(jobs.c.job_id, jobs.c.token_id, jobs.c.sha256, fresh)
        .where(jobs.c.request_id == request_id)
        .with_for_update()
    )
    return (await connection.execute(statement)).first()


async def _give_up_request_id(
    connection: AsyncConnection, job_id: UUID
) -> tuple[UUID, State] | None:
    """Take the request id from a job, and end its upload if one is under way."""
    row = await locked(connection, job_id)
    freed = {"request_id": None}
    reason = {"failure_reason": UPLOAD_SUPERSEDED}
    transition = await write(connection, row, Event.UPLOAD_FAILED, reason, freed)
    return None if transition.after is None else (job_id, transition.after)


async def _open(
    connection: AsyncConnection,
    job_id: UUID,
    token_id: int,
    timeout: timedelta,
    request_id: str | None,
) -> bool:
    """Whether the job is there; if not, another one has got the request id first."""
    statement = (
        postgresql.insert(jobs)
        .values(
            job_id=job_id,
            token_id=token_id,
            request_id=request_id,
            state=State.OPENED,
            progress=PROGRESS[State.OPENED],
            **until(timeout),
        )
        .on_conflict_do_nothing()
    )
    if (await connection.execute(statement)).rowcount:
        return True
    there = select(exists().where(jobs.c.job_id == job_id))
    return bool(await connection.scalar(there))


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.token_id is not None:
        conditions.append(jobs.c.token_id == wanted.token_id)
    if wanted.status == "processing":
        conditions.append(jobs.c.due_time.is_not(None))
    elif wanted.status is not None:
        # Said literally, for the partial indexes to match.
        conditions.append(jobs.c.state == bindparam(None, wanted.status, literal_execute=True))
    if wanted.created_from is not None:
        conditions.append(jobs.c.create_time >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(jobs.c.create_time < wanted.created_before)
    return conditions
