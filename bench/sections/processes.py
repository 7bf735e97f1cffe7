"""Takes on 1, 2 and 4 processes of each service: throughput, and CPU time for a take."""

from __future__ import annotations

import os

from bench.load import takes
from bench.rig import rig
from bench.rows import Row, Rows, at_least_times, at_most_times, median
from bench.scale import Scale
from bench.sections.takes import cpu_ms, sending

_CORES_PER_PROCESS = 3
"""Cores that a process of each service, its share of PostgreSQL and the driver use."""


def measure(scale: Scale) -> list[Row]:
    """The peer of two processes is one process, and that of four is two."""
    rows, previous = Rows("processes"), None
    for processes in (1, 2, 4):
        if processes == 4 and (os.cpu_count() or 1) < 4 * _CORES_PER_PROCESS:
            break
        results = takes_on(processes, scale)
        if previous is not None:
            add_rows(rows, processes, results, previous)
        previous = results
    return rows.all


def takes_on(processes: int, scale: Scale) -> list[takes.Result]:
    """Takes on a stack with this many processes of each service."""
    with rig(replicas=processes) as machine:
        send = sending(machine, machine.ours, scale, one_by_one=False)
        return [send() for _ in range(scale.rounds)]


def add_rows(
    rows: Rows, processes: int, results: list[takes.Result], previous: list[takes.Result]
) -> None:
    """Compare a number of processes with half of it."""
    peer_name = "one process" if processes == 2 else f"{processes // 2} processes"
    # Without enough cores, more processes cannot be faster.
    has_cores = (os.cpu_count() or 1) >= processes * _CORES_PER_PROCESS
    rows.add(
        f"takes to completed, {processes} processes",
        "/s",
        median(results, lambda r: r.takes_per_second),
        at_least_times(1.7) if has_cores else None,
        peer=median(previous, lambda r: r.takes_per_second),
        peer_name=peer_name,
    )
    rows.add(
        f"CPU of all servers for a take, {processes} processes",
        "ms",
        median(results, cpu_ms),
        at_most_times(1.1),
        peer=median(previous, cpu_ms),
        peer_name=peer_name,
    )
