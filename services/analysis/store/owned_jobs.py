"""All jobs of an owner: they change their owner together, and are deleted together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    ClauseElement,
    ColumnElement,
    Integer,
    Text,
    bindparam,
    case,
    exists,
    func,
    literal,
    select,
    update,
)

from services.analysis.jobs import CANCELLED, TRANSITIONS, Event, State
from services.analysis.store.guards import is_legal
from services.analysis.store.request_ids import SEPARATOR
from services.analysis.store.rows import IS_KEPT
from services.analysis.store.transitions import OnTransition, state_changes
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

BATCH = 1000
"""The most jobs that one statement changes."""


@retried_on_schema_change
class OwnedJobs:
    """Changes all jobs of an owner."""

    def __init__(self, database: Database, on_transition: OnTransition = lambda *_: None) -> None:
        self._database = database
        self._on_transition = on_transition

    async def adopt(self, guest: str, account: str) -> int:
        """Give all jobs of a guest to an account; returns how many.

        Their request ids belong to the account from then on, unless it has used the same.
        """
        adopted = 0
        while True:
            async with self._database.connection() as connection:
                rows = await _ADOPT.rows(connection, owner_id=guest, account=account, limit=BATCH)
            adopted += len(rows)
            if len(rows) < BATCH:
                return adopted

    async def erase(self, owner_id: str) -> int:
        """Delete up to BATCH jobs of an owner, as `Deletions.delete` does; returns how many."""
        async with self._database.connection() as connection:
            rows = await _ERASE.rows(connection, owner_id=owner_id, limit=BATCH)
        for row in rows:
            if row["is_cancelled"]:
                self._on_transition(row["job_id"], State.CANCELLED)
        return len(rows)

    async def erased(self, owner_id: str) -> int:
        """The number of deleted jobs of an owner whose rows are still stored."""
        async with self._database.connection() as connection:
            row = await _ERASED.row(connection, owner_id=owner_id)
        return 0 if row is None else int(row["jobs"])


_of_owner = jobs.c.owner_id == bindparam("owner_id", type_=Text)


def _locked(*conditions: ColumnElement[bool]) -> CTE:
    """Up to `limit` jobs of an owner, locked."""
    picked = (
        select(jobs.c.job_id)
        .where(_of_owner, *conditions)
        .order_by(jobs.c.create_time, jobs.c.job_id)
        .limit(bindparam("limit", type_=Integer))
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    # In the order of ids, as settlements lock jobs, so that they do not wait for each other.
    return (
        select(jobs.c.job_id, jobs.c.state, jobs.c.failure_reason)
        .join_from(picked, jobs, jobs.c.job_id == picked.c.job_id)
        .where(_of_owner, *conditions)
        .order_by(jobs.c.job_id)
        .with_for_update(key_share=True, of=jobs)
        .cte("locked")
        .prefix_with("MATERIALIZED")
    )


def _adopt() -> Any:
    """The statement that gives jobs to another owner; returns their ids."""
    locked, named = _locked(), jobs.alias("named")
    account = bindparam("account", type_=Text)
    request_id = account.concat(literal(SEPARATOR, Text)).concat(jobs.c.request_id)
    is_used = exists().where(named.c.request_id == request_id).correlate(jobs)
    return (
        update(jobs)
        .where(jobs.c.job_id == locked.c.job_id)
        .values(owner_id=account, request_id=case((~is_used, request_id)))
        .returning(jobs.c.job_id)
    )


def _erase() -> Any:
    """The statement that deletes jobs; returns which of them it cancelled."""
    locked = _locked(IS_KEPT)
    is_cancelled = is_legal(Event.CANCELLED, locked.c.state, locked.c.failure_reason)
    changes = state_changes(TRANSITIONS[Event.CANCELLED].target) | {"failure_reason": CANCELLED}
    cancelled = {
        name: case((is_cancelled, _value(name, value)), else_=jobs.c[name])
        for name, value in changes.items()
    }
    return (
        update(jobs)
        .where(jobs.c.job_id == locked.c.job_id)
        .values({**cancelled, "delete_time": func.now(), "request_id": None})
        .returning(jobs.c.job_id, is_cancelled.label("is_cancelled"))
    )


def _value(name: str, value: Any) -> Any:
    """A new value of a column, as an expression."""
    return value if isinstance(value, ClauseElement) else literal(value, jobs.c[name].type)


_ADOPT = Statement(_adopt())
_ERASE = Statement(_erase())
_ERASED = Statement(
    select(func.count().label("jobs")).where(_of_owner, jobs.c.delete_time.is_not(None))
)
