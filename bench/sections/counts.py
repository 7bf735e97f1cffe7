"""Messages of a take: statements, transactions, rpcs, requests to S3."""

from __future__ import annotations

from bench.counts import TakeCosts, take_counter
from bench.rows import Row, Rows, at_most
from bench.scale import Scale


def measure(scale: Scale) -> list[Row]:
    """Takes with 16 at once, and one at a time."""
    rows = Rows("counts")
    with take_counter() as counter:
        many = counter.count(scale.counted_takes, 16)
        one = counter.count(scale.counted_takes // 2, 1)
    for pace, costs, limit in (("16 at once", many, 10), ("one at a time", one, 14)):
        rows.add(f"SQL statements of a take, {pace}", "", costs.all_statements, at_most(limit))
    rows.add("writing transactions of a take", "", many.transactions, at_most(3))
    rows.add("rpcs of a take", "", many.all_rpcs, at_most(3))
    rows.add("requests to S3 of a take", "", many.all_s3)
    rows.add("round trips to PostgreSQL of a take", "", round_trips(many))
    rows.add("pings of PostgreSQL of a take", "", sum(many.pings.values()))
    return rows.all


def round_trips(costs: TakeCosts) -> float:
    """Waits for PostgreSQL of all services."""
    return sum(costs.round_trips.values())
