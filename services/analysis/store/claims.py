"""Statements that claim due jobs, hold claims, and fail overdue jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Integer,
    Interval,
    TableValuedAlias,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql

from services.analysis.jobs import (
    ANALYSIS_SERVER_UNAVAILABLE,
    TRANSITIONS,
    UPLOAD_TIMED_OUT,
    AttemptOutcome,
    Claim,
    Event,
    State,
)
from services.analysis.store.rows import AnyRow
from services.analysis.store.transitions import state_changes
from services.analysis.store.turns import advanced_clock
from services.analysis.tables import attempts, jobs
from services.runtime.statements import Statement

CLAIM_COLUMNS: dict[str, Any] = {
    "job_id": Uuid(),
    "lease_token": Uuid(),
    "dispatches": Integer(),
}
"""The columns that identify a claim."""

_lease = bindparam("lease", type_=Interval)


def claim_of(row: AnyRow) -> Claim:
    """The claim in a row of CLAIM."""
    return Claim(
        job_id=row["job_id"],
        token_id=row["token_id"],
        state=State(row["state"]),
        object_key=row["object_key"],
        lease_token=row["lease_token"],
        dispatches=row["dispatches"],
        counted_attempts=row["counted_attempts"],
        silences=row["silences"],
        deadline_passed=row["deadline_passed"],
        status_url=row["status_url"],
        token_revision=row["token_revision"],
    )


def arrays_of(claims: Sequence[Claim]) -> dict[str, object]:
    """The parameters that identify claims."""
    return {name: [getattr(claim, name) for claim in claims] for name in CLAIM_COLUMNS}


def _claim() -> Any:
    """The statement that claims due jobs, queued ones in the order of their turns.

    Returns the fields of `Claim` and `seconds`, until the next job is due; one row without
    a claim when no job is due.
    """
    # For ix_jobs_turn.
    ready_time = func.coalesce(jobs.c.due_time, literal_column("'infinity'::timestamptz"))
    is_queued = and_(ready_time <= func.now(), _is_claimable(State.QUEUED))
    queued = _locked("queued", _integer("dispatches"), is_queued, jobs.c.turn, ready_time)
    claimed_before = select(func.count()).select_from(queued).scalar_subquery()
    rest = func.greatest(0, _integer("limit") - claimed_before)
    dispatched = _due("dispatched", rest, _is_claimable(State.DISPATCHED))
    due = union_all(select(queued), select(dispatched)).cte("due")
    is_dispatch = case((due.c.state == State.QUEUED, 1), else_=0)
    started = case((due.c.state == State.QUEUED, func.now()), else_=jobs.c.attempt_start_time)
    claimed = (
        update(jobs)
        .where(jobs.c.job_id == due.c.job_id)
        .values(
            lease_token=func.gen_random_uuid(),
            worker=bindparam("worker", type_=Text),
            due_time=func.now() + _lease,
            dispatches=jobs.c.dispatches + is_dispatch,
            counted_attempts=jobs.c.counted_attempts + is_dispatch,
            attempt_start_time=started,
        )
        .returning(
            *(jobs.c.job_id, jobs.c.token_id, jobs.c.state, jobs.c.object_key),
            *(jobs.c.lease_token, jobs.c.dispatches, jobs.c.counted_attempts, jobs.c.silences),
            (jobs.c.deadline <= func.now()).label("deadline_passed"),
            *(jobs.c.status_url, jobs.c.token_revision, jobs.c.turn),
        )
        .cte("claimed")
    )
    next_due = select(_seconds_until_due().label("seconds")).subquery("next_due")
    return (
        select(next_due.c.seconds, advanced_clock(claimed).label("clock"), claimed)
        .select_from(next_due.outerjoin(claimed, true()))
        .add_cte(_lost(due))
    )


def _extend() -> Any:
    """The statement that extends the leases of held claims; returns their jobs."""
    given = table_of_arrays(CLAIM_COLUMNS)
    # In the order of ids, as settlements lock jobs, so that they do not wait for each other.
    held = (
        select(jobs.c.job_id)
        .join_from(given, jobs, is_held(given))
        .order_by(jobs.c.job_id)
        .with_for_update(key_share=True, of=jobs)
        .cte("held")
        .prefix_with("MATERIALIZED")
    )
    # A job that has ended meanwhile must not become due again.
    due_time = case((jobs.c.due_time.is_not(None), func.now() + _lease))
    return (
        update(jobs)
        .where(jobs.c.job_id == held.c.job_id)
        .values(due_time=due_time)
        .returning(jobs.c.job_id)
    )


def _set_token_revision() -> Any:
    given = table_of_arrays(CLAIM_COLUMNS)
    return (
        update(jobs)
        .where(is_held(given))
        .values(token_revision=_integer("token_revision"))
        .returning(jobs.c.job_id)
    )


def _time_out() -> Any:
    """The statement that fails jobs whose deadline has passed; returns their ids."""
    uploads = TRANSITIONS[Event.UPLOAD_TIMED_OUT].sources
    states = jobs.c.state.in_(sorted(uploads | TRANSITIONS[Event.DISPATCH_FAILED].sources))
    overdue = _due("overdue", _integer("limit"), and_(states, jobs.c.deadline <= func.now()))
    is_upload = jobs.c.state.in_(sorted(uploads))
    reason = case((is_upload, UPLOAD_TIMED_OUT), else_=ANALYSIS_SERVER_UNAVAILABLE)
    return (
        update(jobs)
        .where(jobs.c.job_id == overdue.c.job_id)
        .values(state_changes(State.FAILED) | {"failure_reason": reason})
        .returning(jobs.c.job_id)
        .add_cte(_lost(overdue))
    )


def table_of_arrays(columns: dict[str, Any]) -> TableValuedAlias:
    """A table whose columns are parameters, arrays of these types."""
    arrays = [bindparam(name, type_=postgresql.ARRAY(kind)) for name, kind in columns.items()]
    rows = func.unnest(*arrays).table_valued(*(column(*each) for each in columns.items()))
    return rows.render_derived("given")


def is_held(given: TableValuedAlias) -> ColumnElement[bool]:
    """The condition that a job's claim, a row of `given`, is held."""
    return and_(*(jobs.c[name] == given.c[name] for name in CLAIM_COLUMNS))


def _is_claimable(state: State) -> ColumnElement[bool]:
    """The condition that a worker may claim a job in this state once it is due."""
    is_in_state = jobs.c.state == state
    if state is State.QUEUED:
        # After its deadline, a job is no longer dispatched but times out.
        return and_(is_in_state, jobs.c.deadline > func.now())
    return is_in_state


is_waiting = and_(jobs.c.due_time <= func.now(), _is_claimable(State.QUEUED))
"""The condition that a job waits for its dispatch, and no worker has claimed it."""


def _due(name: str, limit: Any, condition: ColumnElement[bool]) -> CTE:
    """Due jobs, locked, the longest due first."""
    return _locked(name, limit, and_(jobs.c.due_time <= func.now(), condition), jobs.c.due_time)


def _locked(
    name: str, limit: Any, condition: ColumnElement[bool], *order: ColumnElement[Any]
) -> CTE:
    """Jobs that meet a condition, locked; jobs that others have locked are skipped."""
    return (
        select(
            jobs.c.job_id,
            jobs.c.state,
            jobs.c.dispatches,
            jobs.c.attempt_start_time,
            jobs.c.worker,
            jobs.c.lease_token,
        )
        .where(condition)
        .order_by(*order)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
        .cte(name)
        # Planned as a join, it could run more than once and exceed the limit.
        .prefix_with("MATERIALIZED")
    )


def _lost(due: CTE) -> CTE:
    """Add a "lost" entry for each dispatch whose lease expired before it was settled."""
    columns = ["job_id", "number", "outcome", "start_time", "worker", "error"]
    lost = select(
        due.c.job_id,
        due.c.dispatches,
        literal(AttemptOutcome.LOST.value),
        due.c.attempt_start_time,
        due.c.worker,
        literal("the worker's lease expired"),
    ).where(due.c.lease_token.is_not(None), due.c.state == State.QUEUED)
    entries = postgresql.insert(attempts).from_select(columns, lost)
    return entries.returning(attempts.c.job_id).cte("lost")


def _seconds_until_due() -> Any:
    """Seconds until the next job that a worker may claim is due; NULL without such a job.

    Jobs that are due already do not count: either they are claimed now, or another worker
    claims them, or there is no room for them.
    """
    earliest = [
        select(func.min(jobs.c.due_time))
        .where(_is_claimable(state), jobs.c.due_time > func.now())
        .scalar_subquery()
        for state in (State.QUEUED, State.DISPATCHED)
    ]
    return func.extract("epoch", func.least(*earliest) - func.now())


def _integer(name: str) -> BindParameter[int]:
    return bindparam(name, type_=Integer)


CLAIM = Statement(_claim())
EXTEND = Statement(_extend())
SET_TOKEN_REVISION = Statement(_set_token_revision())
TIME_OUT = Statement(_time_out())
