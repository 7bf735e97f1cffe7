"""16 recordings of 32 MiB at once: throughput, and the peak memory of the upload service."""

from __future__ import annotations

from bench.rig import PEER, rig
from bench.rows import Row, Rows, alternate, at_least_times, at_most, median
from bench.scale import Scale
from bench.sections.large_uploads import uploading

STREAMS = 16


def measure(scale: Scale) -> list[Row]:
    """By gRPC and by form, next to the peer's forms."""
    rows = Rows("sixteen_uploads")
    with rig() as machine, machine.fastapi() as fastapi:
        size = scale.sixteenth_bytes
        results = alternate(
            scale.rounds,
            {
                "grpc": uploading(machine, machine.ours, "grpc", size, STREAMS),
                "form": uploading(machine, machine.ours, "form", size, STREAMS),
                "peer": uploading(machine, fastapi, "form", size, STREAMS),
            },
        )
    peer_speed = median(results["peer"], lambda r: r.mb_per_second)
    peer_peak = median(results["peer"], lambda r: r.peak_mb[PEER])
    for how in ("grpc", "form"):
        speed = median(results[how], lambda r: r.mb_per_second)
        peak = median(results[how], lambda r: r.peak_mb["upload"])
        name = f"16 × 32 MiB by {how}"
        rows.add(name, "MB/s", speed, at_least_times(1.3), peer=peer_speed, peer_name="FastAPI")
        name = f"peak memory of upload, 16 × 32 MiB by {how}"
        rows.add(name, "MB", peak, at_most(250), peer=peer_peak, peer_name="FastAPI")
    return rows.all
