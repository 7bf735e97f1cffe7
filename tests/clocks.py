"""Processes on hosts whose clock is wrong, by libfaketime."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

WRONG_CLOCKS = ("+1d", "-1d")

needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="faketime is not installed"
)


def _library() -> str:
    """The path of libfaketime. The command `faketime` would stay between us and the process."""
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def running_with_clock(
    offset: str, environment: Mapping[str, str], module: str, *arguments: str
) -> Iterator[None]:
    """A Python module as a process whose clock differs by `offset`, such as "+1d"."""
    clock = {
        "LD_PRELOAD": _library(),
        "FAKETIME": offset,
        # Only the clock that tells the time: nothing compares monotonic clocks of two hosts.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env={**environment, **clock}) as process:
        try:
            yield
        finally:
            process.terminate()
    assert process.returncode == 0
