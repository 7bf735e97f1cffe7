"""Jobs per second of one worker process: as they arrive, and from a full queue."""

from __future__ import annotations

from functools import partial

from bench.load import drive, jobs
from bench.rig import Rig, rig
from bench.rows import Row, Rows, alternate, at_least, median
from bench.scale import Scale

LOAD = "bench.load.jobs"


def measure(scale: Scale) -> list[Row]:
    """Jobs without audio, completed by the answer of the analysis server."""
    rows = Rows("jobs")
    with rig(analysis_workers=1) as machine:
        results = alternate(
            scale.rounds,
            {
                "flow": partial(complete, machine, scale.jobs, drains=False),
                "drain": partial(complete, machine, scale.jobs, drains=True),
            },
        )
    flow, drain = results["flow"], results["drain"]
    rows.add("jobs to completed", "/s", median(flow, lambda r: r.per_second), at_least(500))
    rows.add("jobs from a full queue", "/s", median(drain, lambda r: r.per_second), at_least(1000))
    worker = median(flow, lambda r: r.cpu_ms["analysis-worker"])
    rows.add("CPU of the worker for a job", "ms", worker)
    api = median(flow, lambda r: r.cpu_ms["analysis"])
    rows.add("CPU of analysis without the worker for a job", "ms", api)
    return rows.all


def complete(machine: Rig, count: int, *, drains: bool) -> jobs.Result:
    """Open this many jobs and wait until they are completed."""
    settings = jobs.Settings(
        port=machine.stack.settings.port("analysis"),
        analysis_port=machine.analysis_port,
        database_url=machine.stack.database_url,
        jobs=count,
        worker_pid=machine.pid("analysis-worker"),
        drains=drains,
        pids=machine.ours.pids,
    )
    return drive(LOAD, settings, jobs.Result)
