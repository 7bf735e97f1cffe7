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
    rows = Rows("large_uploads")
    with rig() as machine, machine.fastapi() as fastapi:
        size = scale.large_bytes
        ours = alternate(
            scale.rounds, {how: uploading(machine, machine.ours, how, size) for how in HOWS}
        )
        peer = alternate(scale.rounds, {"form": uploading(machine, fastapi, "form", size)})["form"]
        direct = alternate(scale.rounds, {"direct": partial(upload_directly, machine, size)})
    for how in HOWS:
        add_rows(rows, how, ours[how], direct["direct"], peer if how == "form" else None)
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


def upload_directly(machine: Rig, size: int) -> direct_s3.Result:
    """The same bytes by aiobotocore, while the product is frozen."""
    s3 = machine.stack.s3
    settings = direct_s3.Settings(s3.endpoint_url, s3.access_key, s3.secret_key, s3.bucket, size)
    with machine.frozen():
        return drive("bench.peers.direct_s3", settings, direct_s3.Result)


def add_rows(
    rows: Rows,
    how: str,
    ours: list[large.Result],
    direct: list[direct_s3.Result],
    peer: list[large.Result] | None,
) -> None:
    """The rows of one way of uploading; the peer of gRPC and tus is aiobotocore alone."""
    speed_goal, cpu_goal = GOALS[how]
    if peer:
        name = "FastAPI"
        peer_speed = median(peer, lambda r: r.mb_per_second)
        peer_cpu = median(peer, lambda r: r.cpu_seconds_per_gb[PEER])
    else:
        name = "aiobotocore"
        peer_speed = median(direct, lambda r: r.mb_per_second)
        peer_cpu = median(direct, lambda r: r.cpu_seconds_per_gb)
    speed = median(ours, lambda r: r.mb_per_second)
    cpu = median(ours, lambda r: r.cpu_seconds_per_gb["upload"])
    gateway = median(ours, lambda r: r.cpu_seconds_per_gb["gateway"])
    rows.add(
        f"256 MiB by {how}", "MB/s", speed, at_least(speed_goal), peer=peer_speed, peer_name=name
    )
    rows.add(f"CPU of upload, {how}", "s/GB", cpu, at_most(cpu_goal), peer=peer_cpu, peer_name=name)
    rows.add(f"CPU of gateway, {how}", "s/GB", gateway)


def add_seaweedfs(rows: Rows, scale: Scale) -> None:
    """A gRPC upload to a real S3 server on the disk."""
    with rig(discards=False) as machine:
        results = alternate(
            scale.rounds, {"ours": uploading(machine, machine.ours, "grpc", scale.large_bytes)}
        )
        direct = alternate(
            scale.rounds, {"direct": partial(upload_directly, machine, scale.large_bytes)}
        )
    rows.add(
        "256 MiB by grpc on SeaweedFS",
        "MB/s",
        median(results["ours"], lambda r: r.mb_per_second),
        at_least_times(0.9),
        peer=median(direct["direct"], lambda r: r.mb_per_second),
        peer_name="aiobotocore",
    )
