"""Peers and helpers as child processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.load import ROOT, driver_environment
from stack.processes import bound_to_parent

_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PAUSE_SECONDS = 0.05


@contextmanager
def running(
    command: Sequence[str | Path],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a server until the context ends; yields its pid when it accepts connections.

    port: on which it listens. log: gets its output.
    environment: variables besides those of drivers.
    It is killed if this process dies, even while it is frozen.
    Errors: RuntimeError with its output if it exits or does not listen.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            bound_to_parent(list(map(str, command)), "KILL"),
            cwd=ROOT,
            env={**driver_environment(), **(environment or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_ready(process, port, log)
        yield process.pid
    finally:
        _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_PAUSE_SECONDS)
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # It may be frozen.
        os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
