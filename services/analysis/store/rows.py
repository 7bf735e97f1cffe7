"""Converting rows to domain objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import ColumnElement, any_, func, literal, literal_column
from sqlalchemy.dialects import postgresql

from services.analysis.jobs import Analysis, Attempt, AttemptOutcome, Job, Recording, State
from services.analysis.tables import jobs

JOB_COLUMNS = (
    jobs.c.job_id,
    jobs.c.token_id,
    jobs.c.owner_id,
    jobs.c.state,
    jobs.c.progress,
    jobs.c.revision,
    jobs.c.stage,
    jobs.c.result,
    jobs.c.failure_reason,
    jobs.c.failure_message,
    jobs.c.failure_messages,
)
RECORDING_COLUMNS = (
    jobs.c.object_key,
    jobs.c.size,
    jobs.c.content_type,
    jobs.c.sha256,
    jobs.c.file_name,
)
HISTORY_COLUMNS = (
    jobs.c.create_time,
    jobs.c.update_time,
    jobs.c.end_time,
    jobs.c.token_revision,
    jobs.c.analyzer_version,
    jobs.c.reused_job_id,
    jobs.c.retried_job_id,
)

IS_KEPT = jobs.c.delete_time.is_(None)
"""The condition that no client has deleted a job."""


def owner_key(owner_id: Any) -> ColumnElement[str]:
    """An owner as indexes have it: jobs without an owner share one key."""
    key: ColumnElement[str] = func.coalesce(owner_id, literal_column("''"))
    return key


AnyRow = Any
"""A row whose columns are chosen at run time, so SQLAlchemy cannot type it."""


def is_any_of(job_ids: Iterable[UUID]) -> ColumnElement[bool]:
    """The condition that a job's id is one of these."""
    # One array parameter, so that the statement is the same for any number of ids.
    wanted = literal(list(job_ids), postgresql.ARRAY(jobs.c.job_id.type))
    return jobs.c.job_id == any_(wanted)


def job_of(row: Mapping[str, Any] | Record) -> Job:
    """The job in a row that has JOB_COLUMNS, with or without the result."""
    return Job(
        job_id=row["job_id"],
        token_id=row["token_id"],
        owner_id=row["owner_id"],
        state=State(row["state"]),
        progress=row["progress"],
        revision=row["revision"],
        stage=row["stage"],
        result=row.get("result"),
        failure_reason=row["failure_reason"],
        failure_message=row["failure_message"],
        failure_messages=row["failure_messages"],
    )


def analysis_of(row: AnyRow, attempts: tuple[Attempt, ...] = ()) -> Analysis:
    """The analysis in a row that has all columns of this module."""
    recording = None
    if row.object_key is not None:
        recording = Recording(row.object_key, row.size, row.content_type, row.sha256, row.file_name)
    return Analysis(
        job=job_of(row._mapping),
        create_time=row.create_time,
        update_time=row.update_time,
        end_time=row.end_time,
        recording=recording,
        token_revision=row.token_revision,
        analyzer_version=row.analyzer_version,
        reused_job_id=row.reused_job_id,
        retried_job_id=row.retried_job_id,
        attempts=attempts,
    )


def attempt_of(row: AnyRow) -> Attempt:
    """The entry in a row of the table `attempts`."""
    return Attempt(
        number=row.number,
        start_time=row.start_time,
        end_time=row.end_time,
        worker=row.worker,
        outcome=AttemptOutcome(row.outcome),
        error=row.error,
    )
