"""Thousands of gRPC watchers on one process of analysis."""

from __future__ import annotations

from bench.load import drive, grpc_watchers
from bench.rig import rig
from bench.rows import Row, Rows, at_most, median
from bench.scale import Scale

LOAD = "bench.load.grpc_watchers"
_ROUNDS = 2


def measure(scale: Scale) -> list[Row]:
    """100 changes a second; then nothing but heartbeats. There is no peer."""
    rows, results = Rows("watchers"), []
    with rig({"WEBHOOK_SIGNATURE_REQUIRED": "false"}, analysis_workers=1) as machine:
        settings = grpc_watchers.Settings(
            port=machine.stack.settings.port("analysis"),
            database_url=machine.stack.database_url,
            watchers=scale.grpc_watchers,
            changes=scale.grpc_changes,
            watched_seconds=scale.watched_seconds,
            pids=machine.ours.pids,
        )
        for _ in range(min(scale.rounds, _ROUNDS)):
            machine.stack.restart("analysis")
            settings = grpc_watchers.Settings(**{**vars(settings), "pids": machine.ours.pids})
            results.append(drive(LOAD, settings, grpc_watchers.Result))
    title = f"{scale.grpc_watchers:,} watchers"
    rows.add(f"report to message p50, {title}", "ms", median(results, lambda r: r.p50_ms))
    rows.add(
        f"report to message p99, {title}", "ms", median(results, lambda r: r.p99_ms), at_most(15)
    )
    rows.add("memory of a watcher", "kB", median(results, lambda r: r.kilobytes_each), at_most(20))
    idle = median(results, lambda r: r.idle_percent)
    rows.add(f"CPU of analysis while {title} wait", "%", idle, at_most(1))
    return rows.all
