"""The life of an upload: states, events and legal transitions. Pure.

    receiving ──▶ stored ──▶ completed
        │            │
        ├────────────┴─────▶ failed, cancelled
        └──────────────────▶ expired

A one-shot recording or asset skips `stored`: its client repeats the whole upload anyway.
TRANSITIONS has the whole table; `docs/uploads.md` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where an upload is in its life."""

    RECEIVING = "receiving"
    """Bytes are expected."""
    STORED = "stored"
    """All bytes are durable and verified; the receiving service does not have them yet."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(StrEnum):
    """What can happen to an upload."""

    CHECKPOINTED = "checkpointed"
    """More bytes are durable."""
    ALL_STORED = "all_stored"
    """The stream stated its end, and all bytes are durable and verified."""
    HANDED_OVER = "handed_over"
    """The receiving service has the object."""
    FAILED = "failed"
    """The file was refused, or its bytes were lost."""
    CANCELLED = "cancelled"
    """The client ended the upload."""
    EXPIRED = "expired"
    """No bytes came for the lifetime of the upload."""


@dataclass(frozen=True)
class Transition:
    """The states in which an event is legal, and the state it leads to."""

    sources: frozenset[State]
    target: State


OPEN = frozenset({State.RECEIVING, State.STORED})
"""The states that are not final."""

TRANSITIONS = {
    Event.CHECKPOINTED: Transition(frozenset({State.RECEIVING}), State.RECEIVING),
    # A client repeats the end of its stream until it receives an answer.
    Event.ALL_STORED: Transition(OPEN, State.STORED),
    Event.HANDED_OVER: Transition(OPEN, State.COMPLETED),
    Event.FAILED: Transition(OPEN, State.FAILED),
    Event.CANCELLED: Transition(OPEN, State.CANCELLED),
    # A stored upload never expires: the reaper hands it over.
    Event.EXPIRED: Transition(frozenset({State.RECEIVING}), State.EXPIRED),
}


def next_state(state: State, event: Event) -> State | None:
    """The state that an event leads to; None when it is not legal."""
    transition = TRANSITIONS[event]
    return transition.target if state in transition.sources else None
