"""Conditions and expressions in SQL, generated from the state machine in `jobs`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_

from services.analysis.jobs import ENDS, PROGRESS, TRANSITIONS, Event, State


def is_legal(event: Event, state: Any, failure_reason: Any) -> ColumnElement[bool]:
    """The condition that an event is legal in a state. state, failure_reason: columns."""
    rule = TRANSITIONS[event]
    condition: ColumnElement[bool] = state.in_(sorted(rule.sources))
    if not rule.after_failures:
        return condition
    is_late = failure_reason.in_(sorted(rule.after_failures))
    return or_(condition, and_(state == State.FAILED, is_late))


def state_after(event: Any, state: Any, failure_reason: Any) -> ColumnElement[Any]:
    """The state that follows an event that is a column; NULL when it is not legal."""
    branches = [
        (
            and_(event == each.value, is_legal(each, state, failure_reason)),
            state if rule.target is None else rule.target.value,
        )
        for each, rule in TRANSITIONS.items()
    ]
    return case(*branches)


def is_end(state: Any) -> ColumnElement[bool]:
    """The condition that a state is final."""
    condition: ColumnElement[bool] = state.in_(sorted(ENDS))
    return condition


def progress_in(state: Any) -> ColumnElement[Any]:
    """The progress that a job has at least in a state; NULL for a state without one."""
    return case({each.value: progress for each, progress in PROGRESS.items()}, value=state)
