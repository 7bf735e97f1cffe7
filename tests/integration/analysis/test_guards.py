"""The conditions in SQL allow the transitions that the state machine allows, and no other."""

from __future__ import annotations

from itertools import product

from sqlalchemy import Text, column, literal, select, values

from services.analysis.jobs import PROGRESS, TRANSITIONS, Event, State, next_state
from services.analysis.store.guards import is_end, is_legal, progress_in, state_after
from services.runtime.database import Database

REASONS = {"SILENT_AUDIO"}.union(*(rule.after_failures for rule in TRANSITIONS.values()))
JOBS = [(state, None) for state in State if state is not State.FAILED] + [
    (State.FAILED, reason) for reason in sorted(REASONS)
]


async def test_sql_allows_the_transitions_of_the_state_machine(database: Database) -> None:
    cases = values(
        column("event", Text), column("state", Text), column("reason", Text), name="cases"
    ).data([(event, *job) for event, job in product(Event, JOBS)])
    after = state_after(cases.c.event, cases.c.state, cases.c.reason)
    async with database.transaction() as connection:
        found = (await connection.execute(select(cases, after))).all()
    assert len(found) == len(Event) * len(JOBS)
    for event, state, reason, follows in found:
        assert follows == next_state(State(state), Event(event), reason), (event, state, reason)


async def test_sql_allows_each_event_when_the_state_machine_does(database: Database) -> None:
    cases = values(column("state", Text), column("reason", Text), name="cases").data(JOBS)
    legal = [is_legal(event, cases.c.state, cases.c.reason) for event in Event]
    async with database.transaction() as connection:
        found = (await connection.execute(select(cases, *legal))).all()
    for state, reason, *allowed in found:
        expected = [next_state(State(state), event, reason) is not None for event in Event]
        assert list(map(bool, allowed)) == expected, (state, reason)


async def test_sql_knows_ends_and_progress_of_the_states(database: Database) -> None:
    async with database.transaction() as connection:
        for state in State:
            text = literal(state.value)
            row = (await connection.execute(select(is_end(text), progress_in(text)))).one()
            is_final = not any(state in rule.sources for rule in TRANSITIONS.values())
            assert tuple(row) == (is_final, PROGRESS.get(state))
