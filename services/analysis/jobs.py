"""The state machine of an analysis job: states, events and transitions. No I/O.

    opened ──▶ uploading ──▶ queued ◀──▶ dispatched ──▶ completed
       │           │            │            │
       └───────────┴────────────┴────────────┴───────▶ failed, cancelled

A job may skip `uploading` (the recording arrives in one call) and `dispatched` (the
report arrives before the answer to the dispatch). It returns to `queued` when the
analysis server accepted it but never reported. The last three states are final, with
one exception: results complete a job that failed because no result came in time.
`TRANSITIONS` lists every transition; `docs/analysis.md` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class State(StrEnum):
    """The states of a job, in the order of its life."""

    OPENED = "opened"
    UPLOADING = "uploading"
    QUEUED = "queued"
    DISPATCHED = "dispatched"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """The events that can happen to a job.

    REPORT_OVERDUE: no report came in time, and the job is dispatched again.
    REPORT_TIMED_OUT: no report came in time, and the job is not dispatched again.
    """

    UPLOAD_STARTED = "upload_started"
    UPLOAD_FAILED = "upload_failed"
    UPLOAD_TIMED_OUT = "upload_timed_out"
    RECORDING_ATTACHED = "recording_attached"
    RESULT_REUSED = "result_reused"
    DISPATCH_ACCEPTED = "dispatch_accepted"
    DISPATCH_FAILED = "dispatch_failed"
    REPORT_OVERDUE = "report_overdue"
    REPORT_TIMED_OUT = "report_timed_out"
    PROGRESS_REPORTED = "progress_reported"
    RESULTS_REPORTED = "results_reported"
    FAILURE_REPORTED = "failure_reported"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class TransitionRule:
    """Where an event is legal and where it leads.

    sources: the states in which the event is legal.
    target: the state that follows; None when the job stays in its state.
    after_failures: failure reasons for which the event is also legal in `failed`.
    """

    sources: frozenset[State]
    target: State | None
    after_failures: frozenset[str] = field(default=frozenset())


ANALYSIS_TIMED_OUT = "ANALYSIS_TIMED_OUT"
ANALYSIS_SERVER_UNAVAILABLE = "ANALYSIS_SERVER_UNAVAILABLE"
ANALYSIS_SERVER_REFUSED = "ANALYSIS_SERVER_REFUSED"
RESULT_TOO_LARGE = "RESULT_TOO_LARGE"
RESULT_UNREADABLE = "RESULT_UNREADABLE"
TOKEN_NOT_FOUND = "TOKEN_NOT_FOUND"  # noqa: S105 (no secret)
UPLOAD_TIMED_OUT = "UPLOAD_TIMED_OUT"
REQUEST_SUPERSEDED = "REQUEST_SUPERSEDED"
CANCELLED = "CANCELLED"

_BEFORE_RECORDING = frozenset({State.OPENED, State.UPLOADING})
_WITH_RECORDING = frozenset({State.QUEUED, State.DISPATCHED})

TRANSITIONS = {
    # Repeated as a heartbeat while the upload lasts.
    Event.UPLOAD_STARTED: TransitionRule(_BEFORE_RECORDING, State.UPLOADING),
    Event.UPLOAD_FAILED: TransitionRule(_BEFORE_RECORDING, State.FAILED),
    Event.UPLOAD_TIMED_OUT: TransitionRule(_BEFORE_RECORDING, State.FAILED),
    Event.RECORDING_ATTACHED: TransitionRule(_BEFORE_RECORDING, State.QUEUED),
    Event.RESULT_REUSED: TransitionRule(_BEFORE_RECORDING, State.COMPLETED),
    Event.DISPATCH_ACCEPTED: TransitionRule(frozenset({State.QUEUED}), State.DISPATCHED),
    Event.DISPATCH_FAILED: TransitionRule(frozenset({State.QUEUED}), State.FAILED),
    Event.REPORT_OVERDUE: TransitionRule(frozenset({State.DISPATCHED}), State.QUEUED),
    Event.REPORT_TIMED_OUT: TransitionRule(frozenset({State.DISPATCHED}), State.FAILED),
    Event.PROGRESS_REPORTED: TransitionRule(_WITH_RECORDING, None),
    Event.RESULTS_REPORTED: TransitionRule(
        _WITH_RECORDING,
        State.COMPLETED,
        # The analysis is done and paid for, so a late result is kept.
        after_failures=frozenset({ANALYSIS_TIMED_OUT, ANALYSIS_SERVER_UNAVAILABLE}),
    ),
    Event.FAILURE_REPORTED: TransitionRule(_WITH_RECORDING, State.FAILED),
    Event.CANCELLED: TransitionRule(_BEFORE_RECORDING | _WITH_RECORDING, State.CANCELLED),
}

ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
"""The final states."""

PROGRESS = {
    State.OPENED: 10,
    State.UPLOADING: 40,
    State.QUEUED: 70,
    State.DISPATCHED: 90,
    State.COMPLETED: 100,
}
"""The progress, 0 to 100, that a job has at least in a state; progress never decreases."""

MAX_REPORTED_PROGRESS = 99


def next_state(state: State, event: Event, failure_reason: str | None = None) -> State | None:
    """The state that follows `event`; None when the event is not legal in `state`.

    failure_reason: why the job failed; None unless it has failed.
    """
    rule = TRANSITIONS[event]
    is_late = state is State.FAILED and failure_reason in rule.after_failures
    if state not in rule.sources and not is_late:
        return None
    return rule.target or state


def target_of(event: Event) -> State:
    """The state that an event leads to. Errors: ValueError for an event that keeps the state."""
    target = TRANSITIONS[event].target
    if target is None:
        raise ValueError(event)
    return target


def progress_of(reported_percent: float) -> int:
    """The job's progress, 90 to 99, when the analysis server reports `reported_percent`.

    reported_percent: 0 to 100; values outside count as the nearest of the two.
    """
    first = PROGRESS[State.DISPATCHED]
    share = min(max(0.0, reported_percent), 100.0) / 100.0
    return first + int(share * (MAX_REPORTED_PROGRESS - first))


@dataclass(frozen=True)
class Recording:
    """A complete recording in S3.

    size: bytes. content_type: media type. sha256: 32 bytes. file_name: the name on the
    learner's device; may be empty.
    """

    object_key: str
    size: int
    content_type: str
    sha256: bytes
    file_name: str


@dataclass(frozen=True)
class Job:
    """An analysis job as its watchers see it.

    owner_id: the account or the guest that owns it; None for callers without an
    identity. progress: 0 to 100. revision: increases with every change. stage: the step that the
    analysis server reported: one of `reports.STAGES`, or a sentence; may be empty. result:
    a serialized google.protobuf.Struct; set once completed. failure_reason:
    UPPER_SNAKE_CASE; set once failed or cancelled. failure_message: the sentence for the
    learner that the analysis server reported with its failure; may be empty.
    failure_messages: the sentences for the learner that the upload service sent with its
    failure, by language (BCP-47 code).
    """

    job_id: UUID
    token_id: int
    state: State
    progress: int
    revision: int
    stage: str = ""
    result: bytes | None = None
    failure_reason: str | None = None
    failure_message: str = ""
    failure_messages: Mapping[str, str] = field(default_factory=dict)
    owner_id: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state in ENDS

    @property
    def status(self) -> str:
        """The state as lists show it: processing, completed, failed or cancelled."""
        return str(self.state) if self.has_ended else "processing"


class AttemptOutcome(StrEnum):
    """How a dispatch went, as the history of a job states it."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    LOST = "lost"
    SILENT = "silent"


@dataclass(frozen=True)
class Attempt:
    """One entry in the history of a job's dispatches.

    number: the dispatch, counted from 1. worker: host:pid. error: for developers; empty
    when nothing went wrong.
    """

    number: int
    start_time: datetime
    end_time: datetime
    worker: str
    outcome: AttemptOutcome
    error: str


@dataclass(frozen=True)
class Analysis:
    """A job with its recording and its history, as clients read it.

    token_revision: the revision of the token that the result belongs to; 0 when unknown.
    reused_job_id: the job whose result this one copied. retried_job_id: the failed job
    that this one retries. attempts: empty in lists.
    """

    job: Job
    create_time: datetime
    update_time: datetime
    end_time: datetime | None
    recording: Recording | None
    token_revision: int
    analyzer_version: str
    reused_job_id: UUID | None
    retried_job_id: UUID | None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A worker's temporary hold on a due job, valid until its lease expires.

    lease_token: new for every claim; a write with an older token changes nothing.
    dispatches: how often the job has been dispatched, including the dispatch that this
    claim is for. counted_attempts: how many of them count against
    DISPATCH_MAX_ATTEMPTS. silences: how many the analysis server accepted and never
    reported. deadline_passed: whether the time limit of the state is over. status_url:
    where the analysis server tells the job's status; None when it offers none.
    """

    job_id: UUID
    token_id: int
    state: State
    object_key: str
    lease_token: UUID
    dispatches: int
    counted_attempts: int
    silences: int
    deadline_passed: bool
    status_url: str | None
    token_revision: int
