"""Statements that apply an event to a job if it is legal, each in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import (
    CTE,
    Interval,
    Uuid,
    bindparam,
    func,
    select,
    update,
)

from services.analysis.errors import JobNotFound
from services.analysis.jobs import CANCELLED, TRANSITIONS, Event, State
from services.analysis.store.guards import is_legal
from services.analysis.store.reuse import donor_of, queued_or_completed
from services.analysis.store.rows import IS_KEPT, RECORDING_COLUMNS
from services.analysis.store.transitions import Transition, ending_after, state_changes
from services.analysis.store.turns import next_turn
from services.analysis.tables import jobs
from services.runtime.database import Database
from services.runtime.statements import Statement

OLD_COLUMNS = (
    *(jobs.c.job_id, jobs.c.state, jobs.c.failure_reason),
    jobs.c.object_key.is_not(None).label("has_recording"),
)
"""The columns of a locked job, as it is before the event."""


class TransitionStatement:
    """Applies an event to a job, and returns the state before and after.

    It locks the row first, so of two racing events the second sees the state that the first
    left.
    """

    def __init__(self, event: Event, values: Mapping[str, Any]) -> None:
        """Compile the statement. values: the columns that change with the event."""
        old = _locked_job()
        applied = (
            update(jobs)
            .where(jobs.c.job_id == old.c.job_id)
            .where(is_legal(event, old.c.state, old.c.failure_reason))
            .values({**state_changes(TRANSITIONS[event].target), **values})
            .returning(jobs.c.state)
            .cte("applied")
        )
        after = select(applied.c.state).scalar_subquery().label("after")
        columns = (old.c.state, old.c.failure_reason, old.c.has_recording)
        self._statement = Statement(select(*columns, after))

    async def apply(self, database: Database, job_id: UUID, **values: object) -> Transition:
        """Apply the event. Errors: JobNotFound."""
        async with database.connection() as connection:
            row = await self._statement.row(connection, job_id=job_id, **values)
        if row is None:
            raise JobNotFound(job_id=job_id)
        return transition_of(row)


def transition_of(row: Record) -> Transition:
    """The transition in a row with OLD_COLUMNS and the state `after`."""
    return Transition(
        State(row["state"]),
        row["failure_reason"],
        row["has_recording"],
        None if row["after"] is None else State(row["after"]),
    )


def _locked_job() -> CTE:
    """The job, locked, as it is before the event."""
    return (
        select(*OLD_COLUMNS)
        .where(jobs.c.job_id == bindparam("job_id", type_=Uuid), IS_KEPT)
        .with_for_update(key_share=True)
        .cte("old")
        .prefix_with("MATERIALIZED")
    )


def _parameter(name: str) -> Any:
    """The parameter of a statement for the column of this name."""
    return bindparam(name, type_=jobs.c[name].type)


def _attached() -> dict[str, Any]:
    """The columns that change when a job gets its recording.

    Reuse needs no event of its own: it is legal in the same states.
    """
    this_job = jobs.alias("this_job")
    is_this = this_job.c.job_id == _parameter("job_id")
    token_id, owner_id = (
        select(this_job.c[name]).where(is_this).scalar_subquery()
        for name in ("token_id", "owner_id")
    )
    donor = donor_of(_parameter("sha256"), token_id, owner_id)
    outcome = queued_or_completed(donor, bindparam("timeout", type_=Interval))
    return {
        **{column.name: _parameter(column.name) for column in RECORDING_COLUMNS},
        "token_revision": _parameter("token_revision"),
        **outcome,
        "turn": next_turn(jobs.c.owner_id),
        "progress": func.greatest(jobs.c.progress, outcome["progress"]),
    }


START_UPLOAD = TransitionStatement(
    Event.UPLOAD_STARTED, ending_after(bindparam("timeout", type_=Interval))
)
FAIL_UPLOAD = TransitionStatement(
    Event.UPLOAD_FAILED,
    {name: _parameter(name) for name in ("failure_reason", "failure_messages")},
)
ATTACH_RECORDING = TransitionStatement(Event.RECORDING_ATTACHED, _attached())
FAIL = TransitionStatement(
    Event.FAILURE_REPORTED,
    {name: _parameter(name) for name in ("failure_reason", "failure_message")},
)
ADVANCE = TransitionStatement(
    Event.PROGRESS_REPORTED,
    {
        "progress": func.greatest(jobs.c.progress, _parameter("progress")),
        "stage": _parameter("stage"),
    },
)
CANCEL = TransitionStatement(Event.CANCELLED, {"failure_reason": CANCELLED})
