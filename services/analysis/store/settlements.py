"""Settlements: the writes that release the claims of a worker, many in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Interval,
    LargeBinary,
    Text,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from services.analysis.decisions import Fail, Postpone
from services.analysis.jobs import AttemptOutcome, Claim, Event, State
from services.analysis.store.claims import CLAIM_COLUMNS, arrays_of, is_held, table_of_arrays
from services.analysis.store.guards import is_end, progress_in, state_after
from services.analysis.store.rows import IS_KEPT
from services.analysis.tables import attempts, jobs
from services.runtime.statements import Statement

NOW = timedelta(0)


@dataclass(frozen=True)
class Settlement:
    """How a claim ends. The functions below make one for each kind.

    event: what happened to the job; None when its state stays. outcome, error: the new
    entry in the history, written even if the job has ended meanwhile; no entry when
    outcome is None.

    The rest is written unless the job has ended meanwhile. pause: from now until the job
    is due again; until_deadline: but not after its deadline. timeout: the time limit of
    the new state. is_counted: whether the dispatch counts as an attempt. status_url,
    result, analyzer_version, failure_reason, failure_message: of the new state.
    """

    claim: Claim
    event: Event | None
    outcome: AttemptOutcome | None
    error: str = ""
    pause: timedelta = NOW
    until_deadline: bool = False
    timeout: timedelta | None = None
    is_counted: bool = True
    status_url: str | None = None
    result: bytes | None = None
    analyzer_version: str = ""
    failure_reason: str | None = None
    failure_message: str = ""


def accepted(
    claim: Claim, timeout: timedelta, status_url: str | None, poll: timedelta
) -> Settlement:
    """Settle a dispatch that the analysis server accepted.

    timeout: how long to wait for the report. status_url: read after each `poll` meanwhile;
    None when there is no such URL.
    """
    return Settlement(
        claim,
        Event.DISPATCH_ACCEPTED,
        AttemptOutcome.ACCEPTED,
        pause=min(poll, timeout) if status_url else timeout,
        timeout=timeout,
        status_url=status_url,
    )


def completed(claim: Claim, result: bytes, analyzer_version: str) -> Settlement:
    """Store the results that a dispatch or a status URL returned.

    result: a serialized google.protobuf.Struct.
    """
    return Settlement(
        claim,
        Event.RESULTS_REPORTED,
        AttemptOutcome.COMPLETED,
        result=result,
        analyzer_version=analyzer_version,
    )


def failed(claim: Claim, failure: Fail) -> Settlement:
    """End a job without a result."""
    return Settlement(
        claim,
        failure.event,
        failure.attempt_outcome,
        failure.error,
        failure_reason=failure.reason,
        failure_message=failure.message,
    )


def postponed(claim: Claim, postponement: Postpone) -> Settlement:
    """Make a job due again after a failed dispatch."""
    return Settlement(
        claim,
        None,
        AttemptOutcome.FAILED,
        postponement.error,
        pause=postponement.pause,
        is_counted=postponement.is_counted,
    )


def waiting(claim: Claim, pause: timedelta) -> Settlement:
    """Make a dispatched job due again after a pause, or at its deadline if that is sooner."""
    return Settlement(claim, None, None, pause=pause, until_deadline=True)


def redispatched(claim: Claim, timeout: timedelta) -> Settlement:
    """Queue a job again whose report did not come in time.

    timeout: how long until the analysis server must have accepted it.
    """
    return Settlement(claim, Event.REPORT_OVERDUE, AttemptOutcome.SILENT, timeout=timeout)


_COLUMNS: dict[str, Any] = {
    "event": Text(),
    "outcome": Text(),
    "error": Text(),
    "pause": Interval(),
    "until_deadline": Boolean(),
    "timeout": Interval(),
    "is_counted": Boolean(),
    "status_url": Text(),
    "result": LargeBinary(),
    "analyzer_version": Text(),
    "failure_reason": Text(),
    "failure_message": Text(),
}
"""The fields of a settlement, apart from its claim."""


def parameters_of(settlements: Sequence[Settlement]) -> dict[str, object]:
    """The parameters of SETTLE: an array for each column."""
    of_claims = arrays_of([each.claim for each in settlements])
    return of_claims | {name: [getattr(each, name) for each in settlements] for name in _COLUMNS}


def _settle() -> Any:
    """The statement that settles claims; returns the jobs whose claims are held.

    Each has the state that follows; NULL when the state stays.
    """
    held = _held()
    return (
        select(held.c.job_id, held.c.after)
        .add_cte(_entries(held))
        .add_cte(_update_of(held).returning(jobs.c.job_id).cte("settled"))
    )


def _held() -> CTE:
    """The settlements whose claims are held, with their locked jobs."""
    given = table_of_arrays(CLAIM_COLUMNS | _COLUMNS)
    # In the order of ids, so that two batches do not wait for each other.
    return (
        select(
            *(jobs.c.job_id, jobs.c.dispatches, jobs.c.attempt_start_time, jobs.c.worker),
            *(given.c[name] for name in _COLUMNS),
            state_after(given.c.event, jobs.c.state, jobs.c.failure_reason).label("after"),
            and_(given.c.event.is_(None), ~is_end(jobs.c.state)).label("stays"),
        )
        .join_from(given, jobs, is_held(given))
        .where(IS_KEPT)
        .order_by(jobs.c.job_id)
        .with_for_update(of=jobs)
        .cte("held")
        .prefix_with("MATERIALIZED")
    )


def _entries(held: CTE) -> CTE:
    """Add to the history of each job."""
    entries = select(
        *(held.c.job_id, held.c.dispatches, held.c.outcome, held.c.attempt_start_time),
        *(held.c.worker, held.c.error),
    ).where(held.c.outcome.is_not(None))
    columns = ["job_id", "number", "outcome", "start_time", "worker", "error"]
    # One job must not prevent the settlements of the others.
    insertion = postgresql.insert(attempts).from_select(columns, entries).on_conflict_do_nothing()
    return insertion.returning(attempts.c.job_id).cte("entries")


def _update_of(held: CTE) -> Any:
    """Release the claim of each job, and change the job unless it has ended."""
    after = held.c.after
    changes, ends = after.is_not(None), is_end(after)
    # False rather than NULL when the state stays.
    continues = func.coalesce(~ends, literal(False))
    is_due_again = or_(continues, held.c.stays)
    is_queued_again = after == State.QUEUED.value

    def changed(name: str, condition: ColumnElement[bool], value: Any) -> Any:
        return case((condition, value), else_=jobs.c[name])

    later = func.now() + held.c.pause
    due_time = case((held.c.until_deadline, func.least(later, jobs.c.deadline)), else_=later)
    deadline = changed("deadline", continues, func.now() + held.c.timeout)
    values = {
        "lease_token": None,
        "state": func.coalesce(after, jobs.c.state),
        "progress": func.greatest(jobs.c.progress, progress_in(after)),
        "revision": jobs.c.revision + case((changes, 1), else_=0),
        "update_time": changed("update_time", changes, func.now()),
        "end_time": changed("end_time", ends, func.now()),
        "due_time": case((ends, None), else_=changed("due_time", is_due_again, due_time)),
        "deadline": case((ends, None), else_=deadline),
        "status_url": changed("status_url", continues, held.c.status_url),
        "stage": changed("stage", is_queued_again, ""),
        "silences": jobs.c.silences + case((is_queued_again, 1), else_=0),
        "counted_attempts": jobs.c.counted_attempts
        - case((and_(held.c.stays, ~held.c.is_counted), 1), else_=0),
        "result": changed("result", after == State.COMPLETED.value, held.c.result),
        "analyzer_version": changed(
            "analyzer_version", after == State.COMPLETED.value, held.c.analyzer_version
        ),
        "failure_reason": changed("failure_reason", changes, held.c.failure_reason),
        "failure_message": changed("failure_message", changes, held.c.failure_message),
        "failure_messages": changed("failure_messages", changes, literal_column("'{}'::jsonb")),
    }
    return update(jobs).where(jobs.c.job_id == held.c.job_id).values(values)


SETTLE = Statement(_settle())
