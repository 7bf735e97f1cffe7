"""The retry decision: what a worker does with a job after an outcome. No I/O.

| outcome | decision |
| --- | --- |
| results | complete |
| a failure or a refusal that no retry can change | fail |
| accepted | await the report |
| a transient failure | postpone, or fail when it was the last attempt allowed |
| progress or no report, before the deadline | keep waiting |
| progress or no report, after the deadline | redispatch, or fail when that is not allowed |
| the workers of all attempts died | fail |

Failures that the analysis server cannot have noticed are postponed without being
counted. The deadline of a dispatch ends a job that is only postponed; `JobQueue.time_out`
enforces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.analysis.jobs import (
    ANALYSIS_SERVER_UNAVAILABLE,
    ANALYSIS_TIMED_OUT,
    AttemptOutcome,
    Claim,
    Event,
    State,
)
from services.analysis.outcomes import (
    Accepted,
    Fault,
    NoReport,
    Outcome,
    PermanentFailure,
    TransientFailure,
    WorkersDied,
)
from services.analysis.reports import Failure, Progress, Results

MAX_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """How often a worker tries.

    max_attempts: counted attempts before a job fails, 1 or more. max_silences: how often
    a job is dispatched again because no report came, 0 or more. backoff_seconds: the
    longest pause after the first failed attempt, more than 0.
    """

    max_attempts: int
    max_silences: int
    backoff_seconds: float


@dataclass(frozen=True)
class Complete:
    """Store the results."""

    results: Results


@dataclass(frozen=True)
class Fail:
    """End the job without a result.

    event: the event that ends it. reason: the job's failure reason. message: for the
    learner, may be empty. attempt_outcome, error: for the history.
    """

    event: Event
    reason: str
    message: str
    attempt_outcome: AttemptOutcome
    error: str


@dataclass(frozen=True)
class Postpone:
    """Dispatch the job again after a pause.

    is_counted: whether the failed dispatch counts against the limit. error: for the history.
    """

    pause: timedelta
    is_counted: bool
    error: str


@dataclass(frozen=True)
class Redispatch:
    """Dispatch the job again now: the analysis server accepted it and never reported."""


@dataclass(frozen=True)
class AwaitReport:
    """Wait for the report of an accepted job. status_url: as in `Accepted`."""

    status_url: str | None


@dataclass(frozen=True)
class KeepWaiting:
    """Wait on for the report of a job. progress: the progress to show; None without news."""

    progress: Progress | None


Decision = Complete | Fail | Postpone | Redispatch | AwaitReport | KeepWaiting


def may_dispatch(claim: Claim, limits: Limits) -> bool:
    """Whether the limit allows the dispatch that was claimed.

    It does not when the worker of the last attempt died: only then is a job claimed once
    more than allowed. The job must fail, or a job that kills workers would never end.
    """
    return claim.counted_attempts <= limits.max_attempts


def decide(outcome: Outcome, claim: Claim, limits: Limits, jitter: float) -> Decision:
    """Decide what happens to a claimed job.

    jitter: a random number from 0 to 1, the share of the longest backoff that a pause
    lasts ("full jitter").
    """
    match outcome:
        case Results():
            return Complete(outcome)
        case Failure(reason, message):
            return _fail(claim, reason, message, f"reported a failure: {reason}")
        case PermanentFailure(reason=reason, error=error):
            return _fail(claim, reason, "", error)
        case WorkersDied():
            error = "the worker of the last attempt died"
            return _give_up(AttemptOutcome.FAILED, error)
        case Accepted(status_url):
            return AwaitReport(status_url)
        case TransientFailure():
            return _postpone(outcome, claim, limits, jitter)
        case Progress() | NoReport() if claim.deadline_passed:
            return _end_silence(claim, limits)
        case Progress():
            return KeepWaiting(outcome)
        case NoReport():
            return KeepWaiting(None)


def backoff(failed_attempts: int, first_seconds: float) -> timedelta:
    """The longest pause after a number of failed attempts (1 or more).

    Exponential: `first_seconds` * 2^(failed_attempts - 1), at most a minute. Source:
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    doublings = min(max(failed_attempts, 1) - 1, 16)
    return timedelta(seconds=min(MAX_BACKOFF_SECONDS, first_seconds * 2**doublings))


def _fail(claim: Claim, reason: str, message: str, error: str) -> Fail:
    # A job is dispatched while it is queued; its status is read after that.
    is_dispatch = claim.state is State.QUEUED
    event = Event.DISPATCH_FAILED if is_dispatch else Event.FAILURE_REPORTED
    return Fail(event, reason, message, AttemptOutcome.REFUSED, error)


def _give_up(attempt_outcome: AttemptOutcome, error: str) -> Fail:
    event, reason = Event.DISPATCH_FAILED, ANALYSIS_SERVER_UNAVAILABLE
    return Fail(event, reason, "", attempt_outcome, error)


def _postpone(failure: TransientFailure, claim: Claim, limits: Limits, jitter: float) -> Decision:
    is_counted = failure.fault is Fault.SERVERS
    if is_counted and claim.counted_attempts >= limits.max_attempts:
        return _give_up(AttemptOutcome.FAILED, failure.error)
    pause = jitter * backoff(claim.counted_attempts, limits.backoff_seconds)
    return Postpone(max(pause, failure.pause), is_counted, failure.error)


def _end_silence(claim: Claim, limits: Limits) -> Decision:
    may_redispatch = (
        claim.silences < limits.max_silences and claim.counted_attempts < limits.max_attempts
    )
    if may_redispatch:
        return Redispatch()
    event, reason = Event.REPORT_TIMED_OUT, ANALYSIS_TIMED_OUT
    return Fail(event, reason, "", AttemptOutcome.SILENT, "")
