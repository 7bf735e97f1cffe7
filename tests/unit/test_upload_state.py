"""The states of an upload: final states are final, and the diagram in the docs is up to date."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.upload.state import OPEN, TRANSITIONS, Event, State, next_state

DOCUMENT = Path(__file__).parents[2] / "docs" / "uploads.md"


def states_through(events: list[Event]) -> list[State]:
    """The states that an upload passes through with these events; it ignores illegal events."""
    states = [State.RECEIVING]
    for event in events:
        states.append(next_state(states[-1], event) or states[-1])
    return states


@given(st.lists(st.sampled_from(Event), max_size=20))
def test_a_final_state_is_never_left(events: list[Event]) -> None:
    states = states_through(events)
    final = [state for state in states if state not in OPEN]
    assert len(set(final)) <= 1
    assert states[len(states) - len(final) :] == final


@given(st.lists(st.sampled_from(Event), max_size=20))
def test_a_stored_upload_receives_no_more_bytes(events: list[Event]) -> None:
    states = states_through([Event.ALL_STORED, *events])
    assert State.RECEIVING not in states[1:]


@given(st.lists(st.sampled_from(Event), max_size=20))
def test_an_upload_completes_only_after_its_hand_over(events: list[Event]) -> None:
    completes = State.COMPLETED in states_through(events)
    assert not completes or Event.HANDED_OVER in events


@given(st.sampled_from(State), st.sampled_from(Event))
def test_an_event_is_legal_only_in_its_source_states(state: State, event: Event) -> None:
    target = next_state(state, event)
    assert (target is not None) == (state in TRANSITIONS[event].sources)


def test_every_open_upload_can_complete_and_can_fail() -> None:
    for state in OPEN:
        assert next_state(state, Event.HANDED_OVER) is State.COMPLETED
        assert next_state(state, Event.FAILED) is State.FAILED


def test_the_diagram_in_the_docs_matches_the_transitions() -> None:
    drawn = {
        line.strip()
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ") and "-->" in line and "[*]" not in line
    }
    assert drawn == {
        f"{source} --> {transition.target}: {event}"
        for event, transition in TRANSITIONS.items()
        for source in transition.sources
    }
