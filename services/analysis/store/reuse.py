"""Reuse: completing a job with the stored result of the same recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    Uuid,
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
from services.analysis.store.rows import IS_KEPT, owner_key
from services.analysis.stored_results import readable_result
from services.analysis.tables import jobs
from services.runtime.statements import Statement

ONE: ColumnElement[int] = literal_column("1")
"""As a limit. A parameter would hide from the planner how few rows it needs."""


@dataclass(frozen=True)
class Reuse:
    """Which results may be reused.

    analyzer_version: the version that produced them; None for the version that produced
    the newest result.
    """

    analyzer_version: str | None


def donor_of(sha256: Any, token_id: Any, owner_id: Any) -> CTE:
    """The newest job of an owner with a computed result of the same recording, if there is one.

    The result of another owner would be there at once, which reveals that somebody else has
    this recording.

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
            owner_key(jobs.c.owner_id) == owner_key(owner_id),
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


def is_readable(result: bytes | None) -> bool:
    """Whether clients can read a result; true without one. Earlier versions stored others."""
    return result is None or readable_result(result) is not None


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


def _donor_result() -> Statement:
    job = jobs.alias()
    is_wanted = job.c.job_id == bindparam("job_id", type_=Uuid)
    token_id, owner_id = (
        select(job.c[name]).where(is_wanted).scalar_subquery() for name in ("token_id", "owner_id")
    )
    donor = donor_of(bindparam("sha256", type_=LargeBinary), token_id, owner_id)
    return Statement(select(donor.c.result))


DONOR_RESULT = _donor_result()
"""The result that a job could reuse. Parameters: `job_id`, `sha256`, `reuse_parameters`."""
