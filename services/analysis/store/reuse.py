"""Reuse: completing a job with the stored result of the same recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    select,
)

from services.analysis.jobs import PROGRESS, Event, State, target_of
from services.analysis.store.rows import IS_KEPT
from services.analysis.tables import jobs

ONE: ColumnElement[int] = literal_column("1")
"""As a limit. A parameter would hide from the planner how few rows it needs."""


@dataclass(frozen=True)
class Reuse:
    """Which results may be reused.

    analyzer_version: the version that produced them; None for the version that produced
    the newest result.
    """

    analyzer_version: str | None


def donor_of(sha256: Any, token_id: Any) -> CTE:
    """The newest job with a computed result of the same recording, if there is one.

    Further parameters of the statement: those of `reuse_parameters`.
    """
    # The state is a literal, or PostgreSQL would not use the partial indexes.
    computed = and_(
        jobs.c.state == bindparam(None, State.COMPLETED, literal_execute=True),
        jobs.c.reused_job_id.is_(None),
        IS_KEPT,
    )
    newest_version = (
        select(jobs.c.analyzer_version)
        .where(computed)
        .order_by(jobs.c.end_time.desc())
        .limit(ONE)
        .scalar_subquery()
    )
    return (
        select(jobs.c.job_id, jobs.c.result, jobs.c.analyzer_version)
        .where(
            computed,
            jobs.c.sha256 == sha256,
            jobs.c.token_id == token_id,
            jobs.c.token_revision == bindparam("reused_revision", type_=Integer),
            jobs.c.analyzer_version
            == func.coalesce(bindparam("reused_version", type_=Text), newest_version),
        )
        .order_by(jobs.c.end_time.desc())
        .limit(ONE)
        .cte("donor")
        .prefix_with("MATERIALIZED")
    )


def reuse_parameters(reuse: Reuse | None, token_revision: int) -> dict[str, object]:
    """The parameters that select a donor. token_revision: 0, unknown, selects none."""
    return {
        # NULL equals no revision.
        "reused_revision": token_revision or None if reuse is not None else None,
        "reused_version": None if reuse is None else reuse.analyzer_version,
    }


def queued_or_completed(donor: CTE, timeout: Any) -> dict[str, ColumnElement[Any]]:
    """The columns of a job that gets its recording: completed if there is a donor, else due now.

    timeout: how long until the analysis server must have accepted the job.
    """
    is_reused = exists(select(donor.c.job_id))
    queued, completed = target_of(Event.RECORDING_ATTACHED), target_of(Event.RESULT_REUSED)

    def copied(name: str) -> Any:
        return select(donor.c[name]).scalar_subquery()

    return {
        "state": case((is_reused, literal(completed.value)), else_=literal(queued.value)),
        "progress": case((is_reused, PROGRESS[completed]), else_=PROGRESS[queued]),
        "due_time": case((~is_reused, func.now())),
        "deadline": case((~is_reused, func.now() + timeout)),
        "end_time": case((is_reused, func.now())),
        "result": copied("result"),
        "analyzer_version": func.coalesce(copied("analyzer_version"), literal("")),
        "reused_job_id": copied("job_id"),
    }


def copied_result(donor_id: UUID) -> dict[str, Any]:
    """The columns of a result that the database copies from another job."""
    donor = jobs.alias("donor")

    def of_donor(name: str) -> Any:
        return select(donor.c[name]).where(donor.c.job_id == donor_id).scalar_subquery()

    return {
        "result": of_donor("result"),
        "analyzer_version": of_donor("analyzer_version"),
        "reused_job_id": donor_id,
    }
