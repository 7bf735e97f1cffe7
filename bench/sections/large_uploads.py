"""One recording of 256 MiB: throughput and CPU time of the upload service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.load import OWN_PYTHON, drive, large
from bench.peers import direct_s3
from bench.rig import PEER, Competitor, Rig, rig
from bench.rows import Row, Rows, alternate, at_least, at_least_times, at_most, median
from bench.scale import Scale

LOAD = "bench.load.large"
GOALS = {"grpc": (450, 1.5), "form": (350, 1.9), "tus": (320, 2.0)}
"""MB/s, at least, and CPU seconds per GB of the upload service, at most."""

HOWS: tuple[large.How, ...] = ("grpc", "form", "tus")


def measure(scale: Scale) -> list[Row]:
    """All ways of uploading on the discarding S3, and gRPC on SeaweedFS."""
    rows, size = Rows("large_uploads"), scale.large_bytes
    with rig() as machine, machine.fastapi() as fastapi:
        measures: dict[str, Callable[[], large.Result]] = {
            how: uploading(machine, machine.ours, how, size) for how in HOWS
        }
        measures["FastAPI"] = uploading(machine, fastapi, "form", size)
        measures["aiobotocore"] = partial(upload_directly, machine, size)
        results = alternate(scale.rounds, measures)
    for how in HOWS:
        add_rows(rows, how, results, "FastAPI" if how == "form" else "aiobotocore")
    add_seaweedfs(rows, scale)
    return rows.all


def uploading(
    machine: Rig, who: Competitor, how: large.How, size: int, streams: int = 1
) -> Callable[[], large.Result]:
    """A measurement of one competitor while all others are frozen."""
    settings = large.Settings(
        how=how,
        port=who.port,
        analysis_port=machine.analysis_port,
        size=size,
        pids=who.pids,
        streams=streams,
        until_dispatched=who.name != "ours",
    )

    def upload() -> large.Result:
        with machine.only(who):
            return drive(LOAD, settings, large.Result, OWN_PYTHON)

    return upload


def upload_directly(machine: Rig, size: int) -> large.Result:
    """The same bytes by aiobotocore, while the product is frozen."""
    s3 = machine.stack.s3
    settings = direct_s3.Settings(s3.endpoint_url, s3.access_key, s3.secret_key, s3.bucket, size)
    with machine.frozen():
        result = drive("bench.peers.direct_s3", settings, direct_s3.Result)
    return large.Result(result.mb_per_second, {PEER: result.cpu_seconds_per_gb}, {})


def add_rows(rows: Rows, how: str, results: dict[str, list[large.Result]], peer: str) -> None:
    """The rows of one way of uploading."""
    ours, theirs = results[how], results[peer]
    speed_goal, cpu_goal = GOALS[how]
    rows.add(
        f"256 MiB by {how}",
        "MB/s",
        median(ours, mb_per_second),
        at_least(speed_goal),
        peer=median(theirs, mb_per_second),
        peer_name=peer,
    )
    rows.add(
        f"CPU of upload, {how}",
        "s/GB",
        median(ours, lambda r: r.cpu_seconds_per_gb["upload"]),
        at_most(cpu_goal),
        peer=median(theirs, lambda r: r.cpu_seconds_per_gb[PEER]),
        peer_name=peer,
    )
    gateway = median(ours, lambda r: r.cpu_seconds_per_gb["gateway"])
    rows.add(f"CPU of gateway, {how}", "s/GB", gateway)


def add_seaweedfs(rows: Rows, scale: Scale) -> None:
    """A gRPC upload to a real S3 server on the disk."""
    with rig(discards=False) as machine:
        measures: dict[str, Callable[[], large.Result]] = {
            "ours": uploading(machine, machine.ours, "grpc", scale.large_bytes),
            "direct": partial(upload_directly, machine, scale.large_bytes),
        }
        results = alternate(scale.rounds, measures)
    rows.add(
        "256 MiB by grpc on SeaweedFS",
        "MB/s",
        median(results["ours"], mb_per_second),
        at_least_times(0.9),
        peer=median(results["direct"], mb_per_second),
        peer_name="aiobotocore",
    )


def mb_per_second(result: large.Result) -> float:
    """The throughput."""
    return result.mb_per_second
