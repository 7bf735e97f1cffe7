"""The state machine of a job: final states, progress, and the diagram of the documentation."""

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
    progress_of,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "analysis.md"

REASONS = ("ANALYSIS_TIMED_OUT", "SILENT_AUDIO", "ANALYSIS_SERVER_UNAVAILABLE")

Life = list[tuple[State, str | None]]
"""The states of a job, each with its failure reason."""


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """The life of a job under legal events, so that every event drawn changes something."""
    life: Life = [(State.OPENED, None)]
    for _ in range(draw(st.integers(0, 20))):
        state, reason = life[-1]
        legal = [event for event in Event if next_state(state, event, reason) is not None]
        if not legal:
            break
        target = next_state(state, draw(st.sampled_from(legal)), reason)
        assert target is not None
        is_failed = target is State.FAILED
        life.append((target, draw(st.sampled_from(REASONS)) if is_failed else None))
    return life


@given(lives())
def test_only_a_late_result_changes_a_final_state(life: Life) -> None:
    for (state, reason), (following, _) in itertools.pairwise(life):
        if state in ENDS:
            assert state is State.FAILED
            assert reason in ("ANALYSIS_TIMED_OUT", "ANALYSIS_SERVER_UNAVAILABLE")
            assert following is State.COMPLETED


@given(lives())
def test_a_job_has_its_recording_before_it_is_dispatched(life: Life) -> None:
    for (state, _), (following, _) in itertools.pairwise(life):
        if following is State.DISPATCHED:
            assert state in (State.QUEUED, State.DISPATCHED)


def test_an_event_that_is_not_legal_has_no_next_state() -> None:
    for event, state, reason in itertools.product(Event, State, REASONS):
        rule = TRANSITIONS[event]
        is_late = state is State.FAILED and reason in rule.after_failures
        is_legal = state in rule.sources or is_late
        assert (next_state(state, event, reason) is not None) is is_legal


def test_no_event_changes_a_completed_or_cancelled_job() -> None:
    for event, reason in itertools.product(Event, (None, *REASONS)):
        assert next_state(State.COMPLETED, event, reason) is None
        assert next_state(State.CANCELLED, event, reason) is None


def test_every_job_that_has_not_ended_can_fail_and_be_cancelled() -> None:
    for end in (State.FAILED, State.CANCELLED):
        sources = {
            source for rule in TRANSITIONS.values() if rule.target is end for source in rule.sources
        }
        assert sources == set(State) - ENDS


def test_only_a_completed_job_has_full_progress() -> None:
    assert [state for state, progress in PROGRESS.items() if progress == 100] == [State.COMPLETED]


@given(st.floats())
def test_reported_progress_is_between_90_and_99(percent: float) -> None:
    assert 90 <= progress_of(percent) <= 99


@given(st.floats(0, 100), st.floats(0, 100))
def test_progress_grows_with_the_reported_progress(one: float, other: float) -> None:
    assert progress_of(min(one, other)) <= progress_of(max(one, other))


def test_the_diagram_of_the_documentation_has_every_transition() -> None:
    drawn = {
        line.strip()
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ") and "-->" in line and "[*]" not in line
    }
    assert drawn == {
        f"{source} --> {rule.target or source}: {event}"
        for event, rule in TRANSITIONS.items()
        for source in rule.sources | ({State.FAILED} if rule.after_failures else set())
    }


def test_a_result_is_reused_where_a_recording_is_attached() -> None:
    attached, reused = TRANSITIONS[Event.RECORDING_ATTACHED], TRANSITIONS[Event.RESULT_REUSED]
    # One statement decides between the two.
    assert (attached.sources, attached.after_failures) == (reused.sources, reused.after_failures)
