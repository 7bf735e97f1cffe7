"""The life of an analysis job: states, events and legal moves. Pure.

    opened ──▶ uploading ──▶ queued ──▶ dispatched ──▶ completed
       │           │            │            │
       └───────────┴────────────┴────────────┴───────▶ failed

A job may skip `uploading` (a recording that comes at once) and `dispatched` (a
report that comes before the answer to the dispatch). Completed and failed are
ends: nothing leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass
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


class Event(StrEnum):
    """What can happen to a job."""

    UPLOAD_STARTED = "upload_started"
    UPLOAD_FAILED = "upload_failed"
    RECORDING_ATTACHED = "recording_attached"
    DISPATCH_ACCEPTED = "dispatch_accepted"
    DISPATCH_FAILED = "dispatch_failed"
    RESULTS_REPORTED = "results_reported"
    FAILURE_REPORTED = "failure_reported"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True)
class Move:
    """An event's legal starting states and where it leads."""

    sources: frozenset[State]
    target: State


MOVES = {
    Event.UPLOAD_STARTED: Move(frozenset({State.OPENED}), State.UPLOADING),
    Event.UPLOAD_FAILED: Move(frozenset({State.OPENED, State.UPLOADING}), State.FAILED),
    Event.RECORDING_ATTACHED: Move(frozenset({State.OPENED, State.UPLOADING}), State.QUEUED),
    Event.DISPATCH_ACCEPTED: Move(frozenset({State.QUEUED}), State.DISPATCHED),
    Event.DISPATCH_FAILED: Move(frozenset({State.QUEUED}), State.FAILED),
    Event.RESULTS_REPORTED: Move(frozenset({State.QUEUED, State.DISPATCHED}), State.COMPLETED),
    Event.FAILURE_REPORTED: Move(frozenset({State.QUEUED, State.DISPATCHED}), State.FAILED),
    Event.TIMED_OUT: Move(
        frozenset({State.OPENED, State.UPLOADING, State.DISPATCHED}), State.FAILED
    ),
}

ENDS = frozenset({State.COMPLETED, State.FAILED})

PROGRESS = {
    State.OPENED: 10,
    State.UPLOADING: 40,
    State.QUEUED: 70,
    State.DISPATCHED: 90,
    State.COMPLETED: 100,
}
"""Progress of a job in each state, 0 to 100; a failed job keeps what it had reached."""


@dataclass(frozen=True)
class Job:
    """An analysis job as its watchers see it.

    progress: 0 to 100. revision: grows with every change. result: a serialized
    google.protobuf.Struct, once completed. failure_reason: UPPER_SNAKE_CASE, once
    failed; failure_message: what the analysis server said of it, may be empty.
    """

    job_id: UUID
    token_id: int
    state: State
    progress: int
    revision: int
    result: bytes | None = None
    failure_reason: str | None = None
    failure_message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDS

    @property
    def status(self) -> str:
        """The state in the words of the HTTP clients."""
        return str(self.state) if self.ended else "processing"


@dataclass(frozen=True)
class Recording:
    """A whole recording in S3. size: bytes; sha256: 32 bytes."""

    object_key: str
    size: int
    content_type: str
    sha256: bytes
    file_name: str


@dataclass(frozen=True)
class Dispatch:
    """One attempt to hand a job to the analysis server; `attempt` counts from 1."""

    job_id: UUID
    token_id: int
    object_key: str
    attempt: int
