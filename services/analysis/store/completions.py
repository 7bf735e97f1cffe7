"""Completions: the results that are reported at the same time are stored in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, Text, Uuid, select, update

from services.analysis.jobs import TRANSITIONS, Event
from services.analysis.store.claims import table_of_arrays
from services.analysis.store.guards import is_legal
from services.analysis.store.rows import IS_KEPT
from services.analysis.store.transition_statements import OLD_COLUMNS, transition_of
from services.analysis.store.transitions import Transition, state_changes
from services.analysis.tables import jobs
from services.runtime.database import Database
from services.runtime.statements import Statement


@dataclass(frozen=True)
class Completion:
    """Reported results of a job. result: a serialized google.protobuf.Struct."""

    job_id: UUID
    result: bytes
    analyzer_version: str


async def complete_many(
    database: Database, completions: Sequence[Completion]
) -> list[Transition | None]:
    """Apply the results of different jobs; returns None for a job that does not exist."""
    given = {name: [getattr(each, name) for each in completions] for name in _COLUMNS}
    async with database.connection() as connection:
        rows = await _COMPLETE.rows(connection, **given)
    transitions = {row["job_id"]: transition_of(row) for row in rows}
    return [transitions.get(each.job_id) for each in completions]


_COLUMNS: dict[str, Any] = {
    "job_id": Uuid(),
    "result": LargeBinary(),
    "analyzer_version": Text(),
}


def _complete() -> Any:
    """The statement that applies RESULTS_REPORTED, as a `TransitionStatement` for several jobs."""
    event, given = Event.RESULTS_REPORTED, table_of_arrays(_COLUMNS)
    # In the order of ids, as settlements lock jobs, so that they do not wait for each other.
    old = (
        select(*OLD_COLUMNS, given.c.result, given.c.analyzer_version)
        .join_from(given, jobs, jobs.c.job_id == given.c.job_id)
        .where(IS_KEPT)
        .order_by(jobs.c.job_id)
        .with_for_update(key_share=True, of=jobs)
        .cte("old")
        .prefix_with("MATERIALIZED")
    )
    reported = {"result": old.c.result, "analyzer_version": old.c.analyzer_version}
    applied = (
        update(jobs)
        .where(jobs.c.job_id == old.c.job_id)
        .where(is_legal(event, old.c.state, old.c.failure_reason))
        .values({**state_changes(TRANSITIONS[event].target), **reported})
        .returning(jobs.c.job_id, jobs.c.state)
        .cte("applied")
    )
    columns = (old.c.job_id, old.c.state, old.c.failure_reason, old.c.has_recording)
    return select(*columns, applied.c.state.label("after")).select_from(
        old.outerjoin(applied, applied.c.job_id == old.c.job_id)
    )


_COMPLETE = Statement(_complete())
