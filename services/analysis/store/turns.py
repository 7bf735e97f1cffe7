"""Turns: the order in which workers claim queued jobs, with equal shares for all owners.

This is start-time fair queueing. A clock has the turn of the newest claim. The first job of an
owner gets the turn on the clock; each further one gets the turn after the owner's last job
under way. So the only job of one owner waits for one job of each other owner, however many
they have in the queue. Jobs without an owner share the turns of one owner.

The clock is a sequence: a row would make all claims wait for each other. A claim that was
slow may set it back a little, which gives new jobs an earlier turn.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    ScalarSelect,
    column,
    func,
    literal_column,
    select,
    table,
)

from services.analysis.store.rows import owner_key
from services.analysis.tables import jobs, metadata

_clock = table("turns", column("last_value", BigInteger), schema=metadata.schema)


def next_turn(owner_id: Any) -> ColumnElement[int]:
    """The turn of a job that joins the queue. owner_id: a parameter, or the column of `jobs`."""
    others = jobs.alias("of_owner")
    last = (
        select(func.max(others.c.turn))
        .where(owner_key(others.c.owner_id) == owner_key(owner_id), others.c.due_time.is_not(None))
        .correlate(jobs)
        .scalar_subquery()
    )
    now = select(_clock.c.last_value).scalar_subquery()
    # GREATEST ignores NULL.
    turn: ColumnElement[int] = func.greatest(now, last + 1)
    return turn


def advanced_clock(claimed: CTE) -> ScalarSelect[int]:
    """Set the clock to the last turn of the claimed jobs if it shows an earlier one."""
    newest = select(func.max(claimed.c.turn).label("turn")).subquery("newest")
    name: ColumnElement[str] = literal_column(f"'{metadata.schema}.turns'")
    return (
        select(func.setval(name, newest.c.turn))
        .select_from(newest, _clock)
        .where(newest.c.turn > _clock.c.last_value)
        .correlate(None)
        .scalar_subquery()
    )
