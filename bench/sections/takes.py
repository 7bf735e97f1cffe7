"""Takes of 100 KB: throughput, latency and CPU time until they are completed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.load import drive, takes
from bench.rig import Competitor, Rig, rig
from bench.rows import Goal, Row, Rows, alternate, at_least_times, at_most, median
from bench.scale import Scale

AT_ONCE = 16
LOAD = "bench.load.takes"
PACES = {"many": "16 at once", "one": "one at a time"}

Figure = Callable[[takes.Result], float]


def measure(scale: Scale) -> list[Row]:
    """Both competitors with 16 uploads at once, and one take at a time."""
    with rig() as machine, machine.fastapi() as fastapi:
        results = alternate(
            scale.rounds,
            {
                f"{name} {pace}": sending(machine, who, scale, one_by_one=pace == "one")
                for pace in PACES
                for name, who in (("ours", machine.ours), ("peer", fastapi))
            },
        )
    return rows_of(results)


def sending(
    machine: Rig, who: Competitor, scale: Scale, *, one_by_one: bool
) -> Callable[[], takes.Result]:
    """A measurement of one competitor while all others are frozen."""
    settings = takes.Settings(
        port=who.port,
        analysis_port=machine.analysis_port,
        takes=scale.takes_one_at_a_time if one_by_one else scale.takes,
        at_once=1 if one_by_one else AT_ONCE,
        one_by_one=one_by_one,
        pids=who.pids,
        warm_up=min(scale.takes, 10 if one_by_one else 100),
    )

    def send() -> takes.Result:
        with machine.only(who):
            return drive(LOAD, settings, takes.Result)

    return send


def rows_of(results: dict[str, list[takes.Result]]) -> list[Row]:
    """The rows of this section."""
    rows = Rows("takes")

    def add(pace: str, name: str, unit: str, figure: Figure, goal: Goal | None = None) -> None:
        ours, peer = (median(results[f"{who} {pace}"], figure) for who in ("ours", "peer"))
        rows.add(f"{name}, {PACES[pace]}", unit, ours, goal, peer=peer, peer_name="FastAPI")

    add("many", "takes to completed", "/s", lambda r: r.takes_per_second, at_least_times(1.7))
    add("many", "completed p50", "ms", lambda r: r.completed_p50_ms)
    add("many", "completed p99", "ms", lambda r: r.completed_p99_ms, at_most(500))
    add("one", "answered p50", "ms", lambda r: r.answered_p50_ms, at_most(8))
    add("one", "completed p50", "ms", lambda r: r.completed_p50_ms, at_most(15))
    add("many", "CPU of all servers for a take", "ms", cpu_ms, at_most(8))
    add("one", "CPU of all servers for a take", "ms", cpu_ms, at_most(12))
    add("many", "requests refused with 503", "", lambda r: r.refused, at_most(0))
    for program in results["ours many"][0].cpu_ms:
        spent = median(results["ours many"], partial(program_cpu_ms, program=program))
        rows.add(f"CPU of {program} for a take, {PACES['many']}", "ms", spent)
    return rows.all


def cpu_ms(result: takes.Result) -> float:
    """CPU milliseconds of all programs for one take."""
    return sum(result.cpu_ms.values())


def program_cpu_ms(result: takes.Result, program: str) -> float:
    """CPU milliseconds of one program for one take."""
    return result.cpu_ms[program]
