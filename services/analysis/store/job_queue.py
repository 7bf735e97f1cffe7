"""The job queue: due jobs, their claims, and the writes that settle a claim.

The job's row is the work item. A claim is a lease with a new token each time. Every
later write names the token and the number of the dispatch, so that a worker that paused
for longer than its lease changes nothing (fencing).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, case, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql

from services.analysis.decisions import Fail, Postpone
from services.analysis.errors import JobNotFound
from services.analysis.jobs import (
    ANALYSIS_SERVER_UNAVAILABLE,
    ENDS,
    TRANSITIONS,
    UPLOAD_TIMED_OUT,
    AttemptOutcome,
    Claim,
    Event,
    State,
)
from services.analysis.store.rows import AnyRow
from services.analysis.store.transitions import (
    OnTransition,
    apply,
    locked_row,
    state_changes,
    update_of,
)
from services.analysis.tables import attempts, jobs
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class JobQueue:
    """Claims due jobs and settles claims.

    The methods that settle a claim return False, and change nothing, when the claim is
    no longer held. When the job has ended meanwhile, they only add to its history.
    """

    def __init__(self, database: Database, on_transition: OnTransition = lambda *_: None) -> None:
        self._database = database
        self._on_transition = on_transition

    async def claim(
        self, state: State, limit: int, worker: str, lease: timedelta
    ) -> Sequence[Claim]:
        """Claim up to `limit` due jobs in a state, the longest due first.

        A claim of a queued job starts a dispatch. If the job's last lease expired during
        a dispatch, the history gets a "lost" entry. worker: host:pid.
        """
        statement = _claim(state, limit, worker, lease)
        async with self._database.transaction() as connection:
            rows = await connection.execute(statement)
            return [Claim(row[0], row[1], State(row[2]), *row[3:]) for row in rows]

    async def seconds_until_due(self, states: Iterable[State]) -> float | None:
        """Seconds until a job in one of the states is due; None when there is no such job."""
        statement = _seconds_until_due(tuple(states))
        async with self._database.transaction() as connection:
            found = await connection.scalar(statement)
        return None if found is None else float(found)

    async def due(self) -> tuple[int, float]:
        """The number of unclaimed jobs due for dispatch, and for how many seconds the oldest is."""
        waiting = select(
            func.count(),
            func.coalesce(func.extract("epoch", func.now() - func.min(jobs.c.due_time)), 0),
        ).where(jobs.c.state == State.QUEUED, jobs.c.due_time <= func.now())
        async with self._database.transaction() as connection:
            row = (await connection.execute(waiting)).one()
        return int(row[0]), float(row[1])

    async def extend_lease(self, claim: Claim, lease: timedelta) -> bool:
        """Hold a claim for the length of `lease` from now; False when it is no longer held."""
        statement = (
            update(jobs)
            .where(*_is_held(claim))
            # A job that has ended meanwhile must not become due again.
            .values(due_time=case((jobs.c.due_time.is_not(None), func.now() + lease)))
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def set_token_revision(self, claim: Claim, token_revision: int) -> None:
        """Store the revision of the token that the dispatch contains."""
        statement = update(jobs).where(*_is_held(claim)).values(token_revision=token_revision)
        async with self._database.transaction() as connection:
            await connection.execute(statement)

    async def await_report(
        self, claim: Claim, timeout: timedelta, status_url: str | None, poll: timedelta
    ) -> bool:
        """Settle a dispatch that the analysis server accepted.

        timeout: how long to wait for the report. status_url: read after each `poll`
        meanwhile; None when there is no such URL.
        """
        first_look = min(poll, timeout) if status_url else timeout
        values = {
            "status_url": status_url,
            "deadline": func.now() + timeout,
            "due_time": func.now() + first_look,
        }
        return await self._settle(claim, Event.DISPATCH_ACCEPTED, values, AttemptOutcome.ACCEPTED)

    async def complete(self, claim: Claim, result: bytes, analyzer_version: str) -> bool:
        """Store the results that a dispatch or a status URL returned.

        result: a serialized google.protobuf.Struct.
        """
        values = {"result": result, "analyzer_version": analyzer_version}
        return await self._settle(claim, Event.RESULTS_REPORTED, values, AttemptOutcome.COMPLETED)

    async def fail(self, claim: Claim, failure: Fail) -> bool:
        """End a job without a result."""
        values = {"failure_reason": failure.reason, "failure_message": failure.message}
        return await self._settle(
            claim, failure.event, values, failure.attempt_outcome, failure.error
        )

    async def postpone(self, claim: Claim, postponement: Postpone) -> bool:
        """Make a job due again after a failed dispatch."""
        values: dict[str, object] = {"due_time": func.now() + postponement.pause}
        if not postponement.is_counted:
            # The claim has counted it.
            values["counted_attempts"] = jobs.c.counted_attempts - 1
        return await self._settle(claim, None, values, AttemptOutcome.FAILED, postponement.error)

    async def keep_waiting(self, claim: Claim, pause: timedelta) -> bool:
        """Make a dispatched job due again after a pause, or at its deadline if that is sooner."""
        later = func.least(func.now() + pause, jobs.c.deadline)
        return await self._settle(claim, None, {"due_time": later})

    async def redispatch(self, claim: Claim, timeout: timedelta) -> bool:
        """Queue a job again whose report did not come in time.

        timeout: how long until the analysis server must have accepted it.
        """
        values = {
            "due_time": func.now(),
            "deadline": func.now() + timeout,
            "silences": jobs.c.silences + 1,
            "status_url": None,
            "stage": "",
        }
        return await self._settle(claim, Event.REPORT_OVERDUE, values, AttemptOutcome.SILENT)

    async def time_out(self, limit: int) -> int:
        """Fail jobs whose upload or dispatch is overdue; returns how many.

        limit: the maximum number of each.
        """
        uploads = await self._time_out(Event.UPLOAD_TIMED_OUT, UPLOAD_TIMED_OUT, limit)
        dispatches = await self._time_out(Event.DISPATCH_FAILED, ANALYSIS_SERVER_UNAVAILABLE, limit)
        return uploads + dispatches

    async def _settle(
        self,
        claim: Claim,
        event: Event | None,
        values: Mapping[str, Any],
        outcome: AttemptOutcome | None = None,
        error: str = "",
    ) -> bool:
        """Release a claim; False, and nothing changes, when it is no longer held.

        event: what happened to the job; None when its state stays. values: written unless
        the job has ended meanwhile. outcome: added to the history, even if the job has
        ended; None adds nothing.
        """
        async with self._database.transaction() as connection:
            try:
                row = await locked_row(connection, claim.job_id)
            except JobNotFound:
                # A client deleted the job.
                return False
            if (row.lease_token, row.dispatches) != (claim.lease_token, claim.dispatches):
                return False
            if outcome is not None:
                await connection.execute(_entry(row, outcome, error))
            released = {"lease_token": None}
            if event is not None:
                transition = await apply(connection, row, event, values, released)
            else:
                transition = None
                kept = values if row.state not in ENDS else {}
                await connection.execute(update_of(row, {**kept, **released}))
        if transition is not None and transition.after is not None:
            self._on_transition(claim.job_id, transition.after)
        return True

    async def _time_out(self, event: Event, reason: str, limit: int) -> int:
        statement = _fail_overdue(event, reason, limit)
        async with self._database.transaction() as connection:
            job_ids = (await connection.scalars(statement)).all()
        for job_id in job_ids:
            self._on_transition(job_id, State.FAILED)
        return len(job_ids)


# The worker repeats these statements whenever it wakes up, and building one costs more than a
# millisecond of CPU.
@lru_cache
def _seconds_until_due(states: tuple[State, ...]) -> Any:
    """The statement that returns the seconds until a job in one of the states is due."""
    earliest = [
        select(func.min(jobs.c.due_time))
        .where(jobs.c.state == state, jobs.c.due_time.is_not(None))
        .scalar_subquery()
        for state in states
    ]
    return select(func.extract("epoch", func.least(*earliest) - func.now()))


@lru_cache
def _claim(state: State, limit: int, worker: str, lease: timedelta) -> Any:
    """The statement that claims due jobs; returns the fields of `Claim`."""
    due = _due(limit, jobs.c.state == state)
    values = {
        "lease_token": func.gen_random_uuid(),
        "worker": worker,
        "due_time": func.now() + lease,
    }
    if state is State.QUEUED:
        values |= {
            "dispatches": jobs.c.dispatches + 1,
            "counted_attempts": jobs.c.counted_attempts + 1,
            "attempt_start_time": func.now(),
        }
    return (
        update(jobs)
        .where(jobs.c.job_id == due.c.job_id)
        .values(values)
        .returning(
            jobs.c.job_id,
            jobs.c.token_id,
            jobs.c.state,
            jobs.c.object_key,
            jobs.c.lease_token,
            jobs.c.dispatches,
            jobs.c.counted_attempts,
            jobs.c.silences,
            jobs.c.deadline <= func.now(),
            jobs.c.status_url,
            jobs.c.token_revision,
        )
        .add_cte(_lost(due))
    )


@lru_cache
def _fail_overdue(event: Event, reason: str, limit: int) -> Any:
    """The statement that fails jobs whose deadline has passed; returns their ids."""
    sources = TRANSITIONS[event].sources
    overdue = _due(limit, jobs.c.state.in_(sources), jobs.c.deadline <= func.now())
    return (
        update(jobs)
        .where(jobs.c.job_id == overdue.c.job_id)
        .values(state_changes(State.FAILED) | {"failure_reason": reason})
        .returning(jobs.c.job_id)
        .add_cte(_lost(overdue))
    )


def _due(limit: int, *conditions: ColumnElement[bool]) -> CTE:
    """Due jobs, locked, the longest due first; jobs that others have locked are skipped."""
    return (
        select(
            jobs.c.job_id,
            jobs.c.state,
            jobs.c.dispatches,
            jobs.c.attempt_start_time,
            jobs.c.worker,
            jobs.c.lease_token,
        )
        .where(jobs.c.due_time <= func.now(), *conditions)
        .order_by(jobs.c.due_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
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


def _entry(row: AnyRow, outcome: AttemptOutcome, error: str) -> Any:
    """The statement that adds to a job's history."""
    return insert(attempts).values(
        job_id=row.job_id,
        number=row.dispatches,
        outcome=outcome,
        start_time=row.attempt_start_time,
        worker=row.worker,
        error=error,
    )


def _is_held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.job_id == claim.job_id,
        jobs.c.lease_token == claim.lease_token,
        jobs.c.dispatches == claim.dispatches,
    )
