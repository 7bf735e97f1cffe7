"""Applying an event to a job: lock its row, ask the state machine, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.errors import JobNotFound
from services.analysis.jobs import ENDS, PROGRESS, REQUEST_SUPERSEDED, Event, State, next_state
from services.analysis.store.rows import IS_KEPT, AnyRow
from services.analysis.tables import jobs
from services.runtime.shared_errors import JobEnded, RequestSuperseded

NO_MESSAGES: ColumnElement[Any] = literal_column("'{}'::jsonb")

OnTransition = Callable[[UUID, State], None]
"""Called after the commit of every transition, with the job and its new state."""


@dataclass(frozen=True)
class Transition:
    """The effect of an event on a job.

    before: the state before. failure_reason: why the job had failed before; None unless
    it had. has_recording: whether it had its recording before. after: the state after;
    None when the event was not legal.
    """

    before: State
    failure_reason: str | None
    has_recording: bool
    after: State | None

    @property
    def applied(self) -> bool:
        """Whether the event was legal."""
        return self.after is not None

    def require_upload(self, job_id: UUID) -> None:
        """Check that the job accepts an upload, or has its recording and the call is a repeat.

        Errors: JobEnded, RequestSuperseded.
        """
        if self.applied or self.has_recording:
            return
        if self.failure_reason == REQUEST_SUPERSEDED:
            raise RequestSuperseded
        raise JobEnded(job_id=job_id)


async def locked_row(connection: AsyncConnection, job_id: UUID) -> AnyRow:
    """Read a job and lock its row until the transaction ends. Errors: JobNotFound."""
    columns = (
        jobs.c.job_id,
        jobs.c.token_id,
        jobs.c.owner_id,
        jobs.c.state,
        jobs.c.failure_reason,
        jobs.c.object_key,
        jobs.c.lease_token,
        jobs.c.dispatches,
        jobs.c.attempt_start_time,
        jobs.c.worker,
    )
    statement = select(*columns).where(jobs.c.job_id == job_id, IS_KEPT).with_for_update()
    row = (await connection.execute(statement)).first()
    if row is None:
        raise JobNotFound(job_id=job_id)
    return row


async def apply(
    connection: AsyncConnection,
    row: AnyRow,
    event: Event,
    values: Mapping[str, Any],
    always: Mapping[str, Any] | None = None,
) -> Transition:
    """Apply an event to a locked job.

    values: written if the event is legal. always: written even if it is not.
    """
    before = State(row.state)
    after = next_state(before, event, row.failure_reason)
    changes = dict(always or {})
    if after is not None:
        changes |= {**state_changes(after), **values}
    if changes:
        await connection.execute(update_of(row, changes))
    return Transition(before, row.failure_reason, row.object_key is not None, after)


def update_of(row: AnyRow, values: Mapping[str, Any]) -> Any:
    """The statement that updates one job."""
    return update(jobs).where(jobs.c.job_id == row.job_id).values(values)


def state_changes(target: State | None) -> dict[str, Any]:
    """The columns that change with an event that leads to a state; None keeps the state."""
    changes: dict[str, Any] = {
        "revision": jobs.c.revision + 1,
        "update_time": func.now(),
        "failure_reason": None,
        "failure_message": "",
        "failure_messages": NO_MESSAGES,
    }
    if target is not None:
        changes["state"] = target
        changes["progress"] = func.greatest(jobs.c.progress, PROGRESS.get(target, 0))
    if target in ENDS:
        changes |= {"due_time": None, "deadline": None, "end_time": func.now()}
    return changes


def ending_after(timeout: Any) -> dict[str, Any]:
    """The columns of a state that lasts at most `timeout` and needs no worker before."""
    return {"due_time": func.now() + timeout, "deadline": func.now() + timeout}
