"""Load drivers: each is a module with `Settings`, `Result` and a coroutine `measure`.

A driver runs in a process of its own, so that it neither slows the measured programs'
starter down nor is slowed down by it: `drive` starts `python -m bench.load MODULE`, which
reads the settings from standard input and prints the result, both as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).parents[2]
BENCH_PYTHON = ROOT / "build" / "bench-venv" / "bin" / "python"
"""The environment of peers and of most drivers; `make bench` installs it."""

OWN_PYTHON = Path(sys.executable)
_TIMEOUT_SECONDS = 600

R = TypeVar("R")


def drive(
    module: str, settings: DataclassInstance, result: type[R], python: Path = BENCH_PYTHON
) -> R:
    """Run a driver and return its result. Errors: RuntimeError with what it printed."""
    command = [str(python), "-m", "bench.load", module]
    done = subprocess.run(  # noqa: S603
        command,
        input=json.dumps(asdict(settings)),
        cwd=ROOT,
        env=driver_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return result(**json.loads(done.stdout))


def driver_environment() -> dict[str, str]:
    """The environment of drivers and peers."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "gen")))}
