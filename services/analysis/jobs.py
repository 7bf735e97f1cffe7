"""The life of an analysis job: states, events and legal moves. Pure.

    opened ──▶ uploading ──▶ queued ◀──▶ dispatched ──▶ completed
       │           │            │            │
       └───────────┴────────────┴────────────┴───────▶ failed, cancelled

A job may skip `uploading` (a recording that comes at once) and `dispatched` (a
report that comes before the answer to the dispatch), and goes back to `queued`
when the analysis server has accepted it and then keeps silent. Ends are ends,
with one exception: results complete a job that failed for want of them. TRANSITIONS
has the whole; `docs/analysis.md` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class State(StrEnum):
    """Where a job is, in the order of its life."""

    OPENED = "opened"
    UPLOADING = "uploading"
    QUEUED = "queued"
    DISPATCHED = "dispatched"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a job."""

    UPLOAD_STARTED = "upload_started"
    UPLOAD_FAILED = "upload_failed"
    UPLOAD_TIMED_OUT = "upload_timed_out"
    RECORDING_ATTACHED = "recording_attached"
    RESULT_REUSED = "result_reused"
    DISPATCH_ACCEPTED = "dispatch_accepted"
    DISPATCH_FAILED = "dispatch_failed"
    SILENCE_BROKEN_OFF = "silence_broken_off"
    REPORT_TIMED_OUT = "report_timed_out"
    PROGRESS_REPORTED = "progress_reported"
    RESULTS_REPORTED = "results_reported"
    FAILURE_REPORTED = "failure_reported"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class TransitionRule:
    """An event's legal starting states and where it leads.

    target: None when the job stays where it is.
    after_failures: reasons of failed jobs that it moves, too.
    """

    sources: frozenset[State]
    target: State | None
    after_failures: frozenset[str] = field(default=frozenset())


ANALYSIS_TIMED_OUT = "ANALYSIS_TIMED_OUT"
ANALYSIS_SERVER_UNAVAILABLE = "ANALYSIS_SERVER_UNAVAILABLE"
UPLOAD_TIMED_OUT = "UPLOAD_TIMED_OUT"
UPLOAD_SUPERSEDED = "UPLOAD_SUPERSEDED"
CANCELLED = "CANCELLED"

_BEFORE_RECORDING = frozenset({State.OPENED, State.UPLOADING})
_WITH_RECORDING = frozenset({State.QUEUED, State.DISPATCHED})

TRANSITIONS = {
    # Said again and again while the upload lasts.
    Event.UPLOAD_STARTED: TransitionRule(_BEFORE_RECORDING, State.UPLOADING),
    Event.UPLOAD_FAILED: TransitionRule(_BEFORE_RECORDING, State.FAILED),
    Event.UPLOAD_TIMED_OUT: TransitionRule(_BEFORE_RECORDING, State.FAILED),
    Event.RECORDING_ATTACHED: TransitionRule(_BEFORE_RECORDING, State.QUEUED),
    Event.RESULT_REUSED: TransitionRule(_BEFORE_RECORDING, State.COMPLETED),
    Event.DISPATCH_ACCEPTED: TransitionRule(frozenset({State.QUEUED}), State.DISPATCHED),
    Event.DISPATCH_FAILED: TransitionRule(frozenset({State.QUEUED}), State.FAILED),
    Event.SILENCE_BROKEN_OFF: TransitionRule(frozenset({State.DISPATCHED}), State.QUEUED),
    Event.REPORT_TIMED_OUT: TransitionRule(frozenset({State.DISPATCHED}), State.FAILED),
    Event.PROGRESS_REPORTED: TransitionRule(_WITH_RECORDING, None),
    Event.RESULTS_REPORTED: TransitionRule(
        _WITH_RECORDING,
        State.COMPLETED,
        # The work is done and paid for.
        after_failures=frozenset({ANALYSIS_TIMED_OUT, ANALYSIS_SERVER_UNAVAILABLE}),
    ),
    Event.FAILURE_REPORTED: TransitionRule(_WITH_RECORDING, State.FAILED),
    Event.CANCELLED: TransitionRule(_BEFORE_RECORDING | _WITH_RECORDING, State.CANCELLED),
}

ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

PROGRESS = {
    State.OPENED: 10,
    State.UPLOADING: 40,
    State.QUEUED: 70,
    State.DISPATCHED: 90,
    State.COMPLETED: 100,
}
"""The least progress of a job in each state, 0 to 100; it never goes down."""

MAX_REPORTED_PROGRESS = 99


def next_state(state: State, event: Event, failure_reason: str | None = None) -> State | None:
    """Where `event` leads a job; None when it is not legal.

    failure_reason: why the job failed, if it has.
    """
    move = TRANSITIONS[event]
    late = state is State.FAILED and failure_reason in move.after_failures
    if state not in move.sources and not late:
        return None
    return move.target or state


def reported_progress(percent: float) -> int:
    """The progress of a job whose analysis server says it is done by `percent`.

    0 to 100 become 90 to 99; anything else counts as the nearest of them.
    """
    first = PROGRESS[State.DISPATCHED]
    share = min(max(0.0, percent), 100.0) / 100.0
    return first + int(share * (MAX_REPORTED_PROGRESS - first))


@dataclass(frozen=True)
class Recording:
    """A whole recording in S3. size: bytes; sha256: 32 bytes."""

    object_key: str
    size: int
    content_type: str
    sha256: bytes
    file_name: str


@dataclass(frozen=True)
class Job:
    """An analysis job as its watchers see it.

    progress: 0 to 100. revision: grows with every change. stage: what the analysis
    server says it does, may be empty. result: a serialized google.protobuf.Struct,
    once completed. failure_reason: UPPER_SNAKE_CASE, once failed or cancelled;
    failure_message: what the analysis server said of it, may be empty.
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

    @property
    def ended(self) -> bool:
        """Whether watchers have seen the end of it."""
        return self.state in ENDS

    @property
    def status(self) -> str:
        """The state in the words of lists: processing, completed, failed, cancelled."""
        return str(self.state) if self.ended else "processing"


class AttemptOutcome(StrEnum):
    """How an attempt to have a recording analysed went."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    LOST = "lost"
    SILENT = "silent"


@dataclass(frozen=True)
class Attempt:
    """One entry of a job's history; `number` counts from 1, `worker` is host:pid."""

    number: int
    start_time: datetime
    end_time: datetime
    worker: str
    outcome: AttemptOutcome
    error: str


@dataclass(frozen=True)
class Analysis:
    """A job whole, as its own resource."""

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
    """A worker's hold on a due job, valid until its lease ends.

    lease_token: made anew by every claim; whoever has an older one changes nothing.
    attempt: number of the latest dispatch, this one's if the job is queued.
    tries: dispatches that count against the limit. silences: acceptances that no
    report followed. deadline_passed: whether the time for this state is over.
    """

    job_id: UUID
    token_id: int
    state: State
    object_key: str
    lease_token: UUID
    attempt: int
    tries: int
    silences: int
    deadline_passed: bool
    status_url: str | None
    token_revision: int
