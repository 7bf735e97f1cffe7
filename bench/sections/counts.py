"""Messages of a take: statements, transactions, rpcs, requests to S3."""

from __future__ import annotations

from collections.abc import Callable

from bench.counts import TakeCosts, take_counter
from bench.rows import Goal, Row, Rows, at_most
from bench.scale import Scale


def measure(scale: Scale) -> list[Row]:
    """Takes with 16 at once, and one at a time."""
    rows = Rows("counts")
    with take_counter() as counter:
        many = counter.count(scale.counted_takes, 16)
        one = counter.count(scale.counted_takes // 2, 1)
        with counter.machine.fastapi() as fastapi, counter.machine.only(fastapi):
            peer = counter.count(scale.counted_takes, 16, fastapi.port)

    def add(name: str, figure: Callable[[TakeCosts], float], goal: Goal | None = None) -> None:
        theirs = figure(peer) or None
        rows.add(name, "", figure(many), goal, peer=theirs, peer_name="FastAPI")

    add("SQL statements of a take, 16 at once", lambda c: c.all_statements, at_most(10))
    rows.add("SQL statements of a take, one at a time", "", one.all_statements, at_most(14))
    add("writing transactions of a take", lambda c: c.transactions, at_most(3))
    add("round trips to PostgreSQL of a take", lambda c: c.all_round_trips)
    rows.add("pings of PostgreSQL of a take", "", sum(many.pings.values()))
    rows.add("rpcs of a take", "", many.all_rpcs, at_most(3))
    add("requests to S3 of a take", lambda c: c.all_s3)
    return rows.all
