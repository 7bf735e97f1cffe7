"""A job's life: progress never goes down, an end is an end, and the drawing is true."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.analysis.jobs import (
    ENDS,
    PROGRESS,
    TRANSITIONS,
    Event,
    State,
    next_state,
    reported_progress,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "analysis.md"

REASONS = ("ANALYSIS_TIMED_OUT", "SILENT_AUDIO", "ANALYSIS_SERVER_UNAVAILABLE")
happenings = st.lists(st.tuples(st.sampled_from(Event), st.sampled_from(REASONS)), max_size=20)


def states_through(events: list[tuple[Event, str]]) -> list[tuple[State, str | None]]:
    """The states of a job, each with why it has failed, if it has."""
    states: list[tuple[State, str | None]] = [(State.OPENED, None)]
    for event, reason in events:
        target = next_state(states[-1][0], event, states[-1][1])
        if target is not None:
            states.append((target, reason if target is State.FAILED else None))
    return states


@given(happenings)
def test_nothing_leaves_an_end_but_a_late_result(events: list[tuple[Event, str]]) -> None:
    states = states_through(events)
    for (state, reason), (then, _) in itertools.pairwise(states):
        if state in ENDS:
            assert state is State.FAILED
            assert reason in ("ANALYSIS_TIMED_OUT", "ANALYSIS_SERVER_UNAVAILABLE")
            assert then is State.COMPLETED


@given(happenings)
def test_a_completed_job_stays_completed(events: list[tuple[Event, str]]) -> None:
    states = [state for state, _ in states_through(events)]
    if State.COMPLETED in states:
        assert states[-1] is State.COMPLETED


@given(happenings)
def test_a_job_has_its_recording_before_it_is_dispatched(events: list[tuple[Event, str]]) -> None:
    states = [state for state, _ in states_through(events)]
    if State.DISPATCHED in states:
        assert State.QUEUED in states[: states.index(State.DISPATCHED)]


def test_every_state_that_is_no_end_can_fail_and_be_cancelled() -> None:
    for end in (State.FAILED, State.CANCELLED):
        leading = {
            source for move in TRANSITIONS.values() if move.target is end for source in move.sources
        }
        assert leading == set(State) - ENDS


def test_only_a_completed_job_has_full_progress() -> None:
    assert [state for state, progress in PROGRESS.items() if progress == 100] == [State.COMPLETED]


@given(st.floats())
def test_reported_progress_is_between_90_and_99(percent: float) -> None:
    assert 90 <= reported_progress(percent) <= 99


@given(st.floats(0, 100), st.floats(0, 100))
def test_more_reported_progress_is_no_less_progress(one: float, other: float) -> None:
    assert reported_progress(min(one, other)) <= reported_progress(max(one, other))


def test_the_diagram_of_the_document_draws_every_move() -> None:
    drawn = {
        line.strip()
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ") and "-->" in line and "[*]" not in line
    }
    assert drawn == {
        f"{source} --> {move.target or source}: {event}"
        for event, move in TRANSITIONS.items()
        for source in move.sources | ({State.FAILED} if move.after_failures else set())
    }
