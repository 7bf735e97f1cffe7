"""A job's life: progress never goes down, an end is an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.analysis.jobs import ENDS, MOVES, PROGRESS, Event, State

events = st.lists(st.sampled_from(Event), max_size=20)


def states_through(happenings: list[Event]) -> list[State]:
    states = [State.OPENED]
    for event in happenings:
        move = MOVES[event]
        if states[-1] in move.sources:
            states.append(move.target)
    return states


@given(events)
def test_progress_never_goes_down(happenings: list[Event]) -> None:
    progress = [PROGRESS[state] for state in states_through(happenings) if state in PROGRESS]
    assert progress == sorted(progress)


@given(events)
def test_nothing_leaves_an_end(happenings: list[Event]) -> None:
    states = states_through(happenings)
    assert not ENDS & set(states[:-1])


def test_every_state_that_is_no_end_can_fail() -> None:
    failing = {
        source for move in MOVES.values() if move.target is State.FAILED for source in move.sources
    }
    assert failing == set(State) - ENDS


def test_only_a_completed_job_has_full_progress() -> None:
    assert [state for state, progress in PROGRESS.items() if progress == 100] == [State.COMPLETED]
