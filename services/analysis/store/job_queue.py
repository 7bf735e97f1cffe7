"""Jobs as workers see them: due, claimed, settled.

The row is the work item. A claim is a lease with a token made anew each time;
every later write names the token and the attempt, so that a worker that was
paused for longer than its lease changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, case, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql

from services.analysis.jobs import (
    ANALYSIS_SERVER_UNAVAILABLE,
    ANALYSIS_TIMED_OUT,
    ENDS,
    TRANSITIONS,
    UPLOAD_TIMED_OUT,
    AttemptOutcome,
    Claim,
    Event,
    State,
)
from services.analysis.store.rows import AnyRow
from services.analysis.store.transitions import Changed, consequences, locked, update_of, write
from services.analysis.tables import attempts, jobs
from services.runtime.database import Database


class JobQueue:
    """Claims due jobs and settles claims."""

    def __init__(self, database: Database, changed: Changed = lambda *_: None) -> None:
        self._database = database
        self._changed = changed

    async def claim(
        self, state: State, limit: int, worker: str, lease: timedelta
    ) -> Sequence[Claim]:
        """Take up to `limit` due jobs in a state for the length of `lease`.

        Of queued ones each claim is an attempt, and an attempt whose worker did not
        come back within its lease is noted as lost.
        """
        due = _due(limit, jobs.c.state == state)
        statement = (
            update(jobs)
            .where(jobs.c.job_id == due.c.job_id)
            .values(
                lease_token=func.gen_random_uuid(),
                worker=worker,
                due_time=func.now() + lease,
                **(_next_attempt() if state is State.QUEUED else {}),
            )
            .returning(
                jobs.c.job_id,
                jobs.c.token_id,
                jobs.c.state,
                jobs.c.object_key,
                jobs.c.lease_token,
                jobs.c.attempts,
                jobs.c.tries,
                jobs.c.silences,
                jobs.c.deadline <= func.now(),
                jobs.c.status_url,
                jobs.c.token_revision,
            )
        )
        statement = statement.add_cte(_lost(due))
        async with self._database.transaction() as connection:
            rows = await connection.execute(statement)
            return [Claim(row[0], row[1], State(row[2]), *row[3:]) for row in rows]

    async def seconds_until_due(self, states: Iterable[State]) -> float | None:
        """When the next job in one of the states is due; None when none will be."""
        earliest = [
            select(func.min(jobs.c.due_time))
            .where(jobs.c.state == state, jobs.c.due_time.is_not(None))
            .scalar_subquery()
            for state in states
        ]
        seconds = func.extract("epoch", func.least(*earliest) - func.now())
        async with self._database.transaction() as connection:
            found = await connection.scalar(select(seconds))
        return None if found is None else float(found)

    async def due(self) -> tuple[int, float]:
        """How many dispatches are due and not taken, and for how many seconds the first is."""
        waiting = select(
            func.count(),
            func.coalesce(func.extract("epoch", func.now() - func.min(jobs.c.due_time)), 0),
        ).where(jobs.c.state == State.QUEUED, jobs.c.due_time <= func.now())
        async with self._database.transaction() as connection:
            row = (await connection.execute(waiting)).one()
        return int(row[0]), float(row[1])

    async def extend_lease(self, claim: Claim, lease: timedelta) -> bool:
        """Keep a claimed job for the length of `lease` from now; False when it is lost."""
        statement = (
            update(jobs)
            .where(*_held(claim))
            # A job that has ended meanwhile is never due again.
            .values(due_time=case((jobs.c.due_time.is_not(None), func.now() + lease)))
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def note_token_revision(self, claim: Claim, token_revision: int) -> None:
        """The token has changed since the upload: the result will be of this revision."""
        statement = update(jobs).where(*_held(claim)).values(token_revision=token_revision)
        async with self._database.transaction() as connection:
            await connection.execute(statement)

    async def accept_dispatch(
        self, claim: Claim, timeout: timedelta, status_url: str | None, poll: timedelta
    ) -> bool:
        """The analysis server took the job.

        timeout: how long until it must have reported. status_url: what can be asked
        each `poll` meanwhile.
        """
        first_look = min(poll, timeout) if status_url else timeout
        values = {
            "status_url": status_url,
            "deadline": func.now() + timeout,
            "due_time": func.now() + first_look,
        }
        return await self._settle(
            claim, Event.DISPATCH_ACCEPTED, values, AttemptOutcome.ACCEPTED, ""
        )

    async def complete_dispatch(self, claim: Claim, result: bytes, analyzer_version: str) -> bool:
        """The analysis server answered with the result, or its status URL has it."""
        values = {"result": result, "analyzer_version": analyzer_version}
        return await self._settle(
            claim, Event.RESULTS_REPORTED, values, AttemptOutcome.COMPLETED, ""
        )

    async def fail_dispatch(
        self, claim: Claim, reason: str, message: str, outcome: AttemptOutcome, error: str
    ) -> bool:
        """No further attempt makes sense, or the status URL tells of a failure."""
        event = Event.DISPATCH_FAILED if claim.state is State.QUEUED else Event.FAILURE_REPORTED
        values = {"failure_reason": reason, "failure_message": message}
        return await self._settle(claim, event, values, outcome, error)

    async def postpone_dispatch(
        self, claim: Claim, pause: timedelta, *, counts: bool, error: str
    ) -> bool:
        """Try again after a pause. counts: whether this attempt is one of the limit."""
        values: dict[str, object] = {"due_time": func.now() + pause}
        if not counts:
            values["tries"] = jobs.c.tries - 1
        return await self._settle(claim, None, values, AttemptOutcome.FAILED, error)

    async def wait_for_report(self, claim: Claim, pause: timedelta) -> bool:
        """The job's status was asked and is no end: look again after a pause."""
        later = func.least(func.now() + pause, jobs.c.deadline)
        return await self._settle(claim, None, {"due_time": later})

    async def break_silence(self, claim: Claim, timeout: timedelta) -> bool:
        """No report came in time: dispatch again. timeout: as in `attach`."""
        values = {
            "due_time": func.now(),
            "deadline": func.now() + timeout,
            "silences": jobs.c.silences + 1,
            "status_url": None,
            "stage": "",
        }
        return await self._settle(claim, Event.SILENCE_BROKEN_OFF, values, AttemptOutcome.SILENT)

    async def time_out_report(self, claim: Claim) -> bool:
        """No report came in time, once too often."""
        values = {"failure_reason": ANALYSIS_TIMED_OUT}
        return await self._settle(claim, Event.REPORT_TIMED_OUT, values, AttemptOutcome.SILENT)

    async def time_out(self, limit: int) -> int:
        """Fail jobs whose recording or dispatch is overdue; returns how many."""
        ended = await self._time_out(Event.UPLOAD_TIMED_OUT, UPLOAD_TIMED_OUT, limit)
        return ended + await self._time_out(
            Event.DISPATCH_FAILED, ANALYSIS_SERVER_UNAVAILABLE, limit
        )

    async def _settle(
        self,
        claim: Claim,
        event: Event | None,
        values: Mapping[str, Any],
        outcome: AttemptOutcome | None = None,
        error: str = "",
    ) -> bool:
        """End a claim; False, and nothing changes, when it is no longer held.

        event: what happened to the job, if anything. outcome: how the attempt went,
        noted even if the job has ended meanwhile.
        """
        async with self._database.transaction() as connection:
            row = await locked(connection, claim.job_id)
            if (row.lease_token, row.attempts) != (claim.lease_token, claim.attempt):
                return False
            if outcome is not None:
                await connection.execute(_entry(row, outcome, error))
            released = {"lease_token": None}
            if event is not None:
                transition = await write(connection, row, event, values, released)
            else:
                transition = None
                kept = values if row.state not in ENDS else {}
                await connection.execute(update_of(row, {**kept, **released}))
        if transition is not None and transition.after is not None:
            self._changed(claim.job_id, transition.after)
        return True

    async def _time_out(self, event: Event, reason: str, limit: int) -> int:
        move = TRANSITIONS[event]
        overdue = _due(limit, jobs.c.state.in_(move.sources), jobs.c.deadline <= func.now())
        statement = (
            update(jobs)
            .where(jobs.c.job_id == overdue.c.job_id)
            .values(consequences(State.FAILED) | {"failure_reason": reason})
            .returning(jobs.c.job_id)
            .add_cte(_lost(overdue))
        )
        async with self._database.transaction() as connection:
            job_ids = (await connection.scalars(statement)).all()
        for job_id in job_ids:
            self._changed(job_id, State.FAILED)
        return len(job_ids)


def _next_attempt() -> dict[str, Any]:
    return {
        "attempts": jobs.c.attempts + 1,
        "tries": jobs.c.tries + 1,
        "attempt_start_time": func.now(),
    }


def _due(limit: int, *conditions: ColumnElement[bool]) -> CTE:
    """Rows that need attention, the longest due first, locked; those of others passed over."""
    return (
        select(
            jobs.c.job_id,
            jobs.c.state,
            jobs.c.attempts,
            jobs.c.attempt_start_time,
            jobs.c.worker,
            jobs.c.lease_token,
        )
        .where(jobs.c.due_time <= func.now(), *conditions)
        .order_by(jobs.c.due_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        # Planned as a join it could be run again and take more than the limit.
        .prefix_with("MATERIALIZED")
    )


def _lost(due: CTE) -> CTE:
    """Note the attempts that still have a lease token when their lease has ended."""
    columns = ["job_id", "number", "outcome", "start_time", "worker", "error"]
    lost = select(
        due.c.job_id,
        due.c.attempts,
        literal(AttemptOutcome.LOST.value),
        due.c.attempt_start_time,
        due.c.worker,
        literal("the worker's lease ended"),
    ).where(due.c.lease_token.is_not(None), due.c.state == State.QUEUED)
    entries = postgresql.insert(attempts).from_select(columns, lost)
    return entries.returning(attempts.c.job_id).cte("lost")


def _entry(row: AnyRow, outcome: AttemptOutcome, error: str) -> Any:
    return insert(attempts).values(
        job_id=row.job_id,
        number=row.attempts,
        outcome=outcome,
        start_time=row.attempt_start_time,
        worker=row.worker,
        error=error,
    )


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.job_id == claim.job_id,
        jobs.c.lease_token == claim.lease_token,
        jobs.c.attempts == claim.attempt,
    )
