"""From the analysis server's webhook to the event at a watcher, with many watchers."""

from __future__ import annotations

from collections.abc import Callable

from bench.load import drive, sse_watchers
from bench.rig import PEER, Competitor, Rig, rig
from bench.rows import Row, Rows, alternate, at_most, median
from bench.scale import Scale

LOAD = "bench.load.sse_watchers"


def measure(scale: Scale) -> list[Row]:
    """Ours pushes; the peer polls."""
    rows = Rows("webhook_to_sse")
    with rig() as machine, machine.fastapi() as fastapi:
        results = alternate(
            scale.rounds,
            {
                "ours": watching(machine, machine.ours, scale),
                "peer": watching(machine, fastapi, scale),
            },
        )
    ours, peer = results["ours"], results["peer"]
    title = f"webhook to event, {scale.sse_watchers:,} watchers"
    for name, figure, goal in (
        ("p50", lambda r: r.p50_ms, at_most(4)),
        ("p99", lambda r: r.p99_ms, at_most(15)),
    ):
        theirs = median(peer, figure)
        rows.add(
            f"{title}, {name}", "ms", median(ours, figure), goal, peer=theirs, peer_name="FastAPI"
        )
    rows.add(
        f"CPU while {scale.sse_watchers:,} watchers wait",
        "%",
        median(ours, lambda r: sum(r.idle_percent.values())),
        peer=median(peer, lambda r: r.idle_percent[PEER]),
        peer_name="FastAPI",
    )
    return rows.all


def watching(machine: Rig, who: Competitor, scale: Scale) -> Callable[[], sse_watchers.Result]:
    """A measurement of one competitor while all others are frozen."""
    settings = sse_watchers.Settings(
        port=who.port,
        analysis_port=machine.analysis_port,
        watchers=scale.sse_watchers,
        reports=scale.sse_reports,
        watched_seconds=scale.watched_seconds / 2,
        pids=who.pids,
    )

    def watch() -> sse_watchers.Result:
        with machine.only(who):
            return drive(LOAD, settings, sse_watchers.Result)

    return watch
