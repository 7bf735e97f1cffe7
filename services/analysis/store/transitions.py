"""Moving a job: lock its row, ask the state machine, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.errors import JobNotFound
from services.analysis.jobs import ENDS, PROGRESS, Event, State, next_state
from services.analysis.store.rows import AnyRow
from services.analysis.tables import jobs

Changed = Callable[[UUID, State], None]
"""Told of every change after its commit."""


@dataclass(frozen=True)
class Transition:
    """What an event did to a job. after: None when it was not legal."""

    before: State
    failure_reason: str | None
    has_recording: bool
    after: State | None

    @property
    def applied(self) -> bool:
        """Whether the event was legal."""
        return self.after is not None


async def locked(connection: AsyncConnection, job_id: UUID) -> AnyRow:
    """The row of a job, which nobody else changes until the end. Errors: JobNotFound."""
    columns = (
        jobs.c.job_id,
        jobs.c.token_id,
        jobs.c.state,
        jobs.c.failure_reason,
        jobs.c.object_key,
        jobs.c.lease_token,
        jobs.c.attempts,
        jobs.c.attempt_start_time,
        jobs.c.worker,
    )
    statement = select(*columns).where(jobs.c.job_id == job_id).with_for_update()
    row = (await connection.execute(statement)).first()
    if row is None:
        raise JobNotFound(job_id=job_id)
    return row


async def write(
    connection: AsyncConnection,
    row: AnyRow,
    event: Event,
    values: Mapping[str, Any],
    always: Mapping[str, Any] | None = None,
) -> Transition:
    """Move a locked job as `event` says, if it is legal. always: written anyhow."""
    before = State(row.state)
    target = next_state(before, event, row.failure_reason)
    changes = dict(always or {})
    if target is not None:
        changes |= {**consequences(target), **values}
    if changes:
        await connection.execute(update_of(row, changes))
    return Transition(before, row.failure_reason, row.object_key is not None, target)


def update_of(row: AnyRow, values: Mapping[str, Any]) -> Any:
    """The statement that changes one row."""
    return update(jobs).where(jobs.c.job_id == row.job_id).values(values)


def consequences(target: State) -> dict[str, Any]:
    """What changes with the state, whatever the event."""
    changes = {
        "state": target,
        "progress": func.greatest(jobs.c.progress, PROGRESS.get(target, 0)),
        "revision": jobs.c.revision + 1,
        "update_time": func.now(),
        "failure_reason": None,
        "failure_message": "",
    }
    if target in ENDS:
        changes |= {"due_time": None, "deadline": None, "end_time": func.now()}
    return changes


def until(timeout: timedelta) -> dict[str, Any]:
    """A state that ends after `timeout`, without anything to do before."""
    return {"due_time": func.now() + timeout, "deadline": func.now() + timeout}
