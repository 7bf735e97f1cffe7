"""A resumable upload of 256 MiB by tus-js-client, next to @tus/server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.load import ROOT
from bench.load.large import MIB, first_mib
from bench.rig import Competitor, rig
from bench.rows import Row, Rows, alternate, at_least_times, median
from bench.scale import Scale

TUS = ROOT / "bench" / "peers" / "tus"
_TIMEOUT_SECONDS = 300


def measure(scale: Scale) -> list[Row]:
    """The same client and the same file for both servers; nothing without Node.js."""
    node, rows = shutil.which("node"), Rows("resumable")
    if node is None or not (TUS / "node_modules" / "tus-js-client").exists():
        return []
    with rig() as machine, machine.tus_server(node) as peer:
        recording = machine.folder / "recording.wav"
        write_recording(recording, scale.large_bytes)

        def uploading(who: Competitor) -> Callable[[], float]:
            def upload() -> float:
                with machine.only(who):
                    return upload_seconds(node, who.port, recording)

            return upload

        seconds = alternate(
            scale.rounds, {"ours": uploading(machine.ours), "peer": uploading(peer)}
        )
    ours, theirs = (
        scale.large_bytes / 1e6 / median(seconds[who], float) for who in ("ours", "peer")
    )
    name, goal = "256 MiB by tus-js-client", at_least_times(1.4)
    rows.add(name, "MB/s", ours, goal, peer=theirs, peer_name="@tus/server")
    return rows.all


def write_recording(path: Path, size: int) -> None:
    """Write a recording of this many bytes."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        file.write(first_mib(size))
        for _ in range(size // MIB - 1):
            file.write(block)


def upload_seconds(node: str, port: int, recording: Path) -> float:
    """The duration of one upload, without the start of Node.js."""
    done = subprocess.run(  # noqa: S603
        [node, "upload.mjs", f"http://127.0.0.1:{port}/uploads", str(recording)],
        cwd=TUS,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the upload failed: {done.stderr[-2000:]}")
    return float(done.stdout)
