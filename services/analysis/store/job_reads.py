"""Jobs as watchers and clients read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Uuid,
    any_,
    bindparam,
    literal,
    select,
    tuple_,
    union,
)
from sqlalchemy.dialects import postgresql

from services.analysis.errors import JobNotFound
from services.analysis.jobs import Analysis, Job
from services.analysis.store.claims import table_of_arrays
from services.analysis.store.rows import (
    HISTORY_COLUMNS,
    IS_KEPT,
    JOB_COLUMNS,
    RECORDING_COLUMNS,
    analysis_of,
    attempt_of,
    job_of,
)
from services.analysis.tables import attempts, jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

MayUse = Callable[[str | None], bool]
"""Whether a caller may use the jobs of an owner; None for jobs without one."""


def everybody(_: str | None) -> bool:
    """Every owner's jobs may be used: by the services themselves, and by the analysis server."""
    return True


_WANTED = any_(bindparam("job_ids", type_=postgresql.ARRAY(Uuid())))
_GET = Statement(
    select(*JOB_COLUMNS).where(jobs.c.job_id == bindparam("job_id", type_=Uuid), IS_KEPT)
)
_DELETED = Statement(
    select(jobs.c.owner_id).where(jobs.c.job_id == bindparam("job_id", type_=Uuid), ~IS_KEPT)
)
_OWNER = Statement(
    select(jobs.c.owner_id).where(jobs.c.job_id == bindparam("job_id", type_=Uuid), IS_KEPT)
)
_GET_MANY = Statement(select(*JOB_COLUMNS).where(jobs.c.job_id == _WANTED))
_KNOWN = table_of_arrays({"job_id": Uuid(), "revision": jobs.c.revision.type})
_COMPARE = Statement(
    select(_KNOWN.c.job_id, jobs.c.job_id.is_not(None).label("is_stored"))
    .select_from(_KNOWN.outerjoin(jobs, jobs.c.job_id == _KNOWN.c.job_id))
    .where(jobs.c.revision.is_distinct_from(_KNOWN.c.revision) | jobs.c.job_id.is_(None))
)
_STORED_IDS = Statement(
    union(
        select(jobs.c.job_id).where(jobs.c.job_id == _WANTED),
        select(jobs.c.retried_job_id).where(jobs.c.retried_job_id == _WANTED),
    )
)


@dataclass(frozen=True)
class Comparison:
    """Which of some known jobs have changed, and which are not stored."""

    changed: set[UUID]
    missing: set[UUID]


@dataclass(frozen=True)
class Filter:
    """Which analyses a list contains; None does not filter.

    status: as in `Job.status`. created_from is included, created_before is not.
    """

    token_id: int | None = None
    owner_id: str | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


@retried_on_schema_change
class JobReads:
    """Reads jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: UUID, may_use: MayUse = everybody) -> Job:
        """Read a job. Errors: JobNotFound, also if the caller may not use it."""
        async with self._database.connection() as connection:
            row = await _GET.row(connection, job_id=job_id)
        if row is None or not may_use(row["owner_id"]):
            raise JobNotFound(job_id=job_id)
        return job_of(row)

    async def require(self, job_id: UUID, may_use: MayUse) -> None:
        """Check that there is a job that the caller may use. Errors: JobNotFound."""
        async with self._database.connection() as connection:
            row = await _OWNER.row(connection, job_id=job_id)
        if row is None or not may_use(row["owner_id"]):
            raise JobNotFound(job_id=job_id)

    async def is_deleted(self, job_id: UUID, may_use: MayUse = everybody) -> bool:
        """Whether a client deleted a job that is still stored, and that the caller might use."""
        async with self._database.connection() as connection:
            row = await _DELETED.row(connection, job_id=job_id)
        return row is not None and may_use(row["owner_id"])

    async def get_many(self, job_ids: Iterable[UUID]) -> list[Job]:
        """Read jobs for their watchers, in any order; unknown ids are left out.

        Deleted jobs are read too, so that their watchers see the end.
        """
        async with self._database.connection() as connection:
            rows = await _GET_MANY.rows(connection, job_ids=list(job_ids))
        return list(map(job_of, rows))

    async def stored_ids(self, job_ids: Iterable[UUID]) -> list[UUID]:
        """Those of the ids whose recordings must be kept, in any order.

        They are those of stored jobs, deleted ones included, and of jobs whose retry is
        stored: the retry has their recording.
        """
        async with self._database.connection() as connection:
            rows = await _STORED_IDS.rows(connection, job_ids=list(job_ids))
        return [row["job_id"] for row in rows]

    async def compare(self, known: Mapping[UUID, int | None]) -> Comparison:
        """Find the jobs whose revision is another one than that known; None if unknown."""
        async with self._database.connection() as connection:
            rows = await _COMPARE.rows(
                connection, job_id=list(known), revision=list(known.values())
            )
        changed = {row["job_id"] for row in rows if row["is_stored"]}
        return Comparison(changed, {row["job_id"] for row in rows} - changed)

    async def get_analysis(self, job_id: UUID, may_use: MayUse = everybody) -> Analysis:
        """Read a job with its recording, result and history.

        Errors: JobNotFound, also if the caller may not use it.
        """
        statement = select(*JOB_COLUMNS, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
        history = (
            select(attempts)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.number, attempts.c.end_time)
        )
        async with self._database.transaction() as connection:
            wanted = statement.where(jobs.c.job_id == job_id, IS_KEPT)
            row = (await connection.execute(wanted)).first()
            if row is None or not may_use(row.owner_id):
                raise JobNotFound(job_id=job_id)
            entries = tuple(attempt_of(entry) for entry in await connection.execute(history))
        return analysis_of(row, entries)

    async def list_page(
        self, wanted: Filter, limit: int, position: tuple[datetime, UUID] | None
    ) -> list[Analysis]:
        """Read up to `limit` analyses, newest first, without results and histories.

        position: the create time and id of the analysis before the page; None for the
        first page.
        """
        columns = [column for column in JOB_COLUMNS if column is not jobs.c.result]
        statement = (
            select(*columns, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
            .where(*conditions_of(wanted))
            .order_by(jobs.c.create_time.desc(), jobs.c.job_id.desc())
            .limit(limit)
        )
        if position is not None:
            key = tuple_(jobs.c.create_time, jobs.c.job_id)
            statement = statement.where(key < tuple_(*map(literal, position)))
        async with self._database.transaction() as connection:
            return [analysis_of(row) for row in await connection.execute(statement)]


def conditions_of(wanted: Filter) -> list[ColumnElement[bool]]:
    """The conditions of a filter; deleted jobs meet none."""
    conditions: list[ColumnElement[bool]] = [IS_KEPT]
    if wanted.owner_id is not None:
        conditions.append(jobs.c.owner_id == wanted.owner_id)
    if wanted.token_id is not None:
        conditions.append(jobs.c.token_id == wanted.token_id)
    if wanted.status == "processing":
        conditions.append(jobs.c.due_time.is_not(None))
    elif wanted.status is not None:
        # A literal, or PostgreSQL would not use the partial indexes.
        conditions.append(jobs.c.state == bindparam(None, wanted.status, literal_execute=True))
    if wanted.created_from is not None:
        conditions.append(jobs.c.create_time >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(jobs.c.create_time < wanted.created_before)
    return conditions
