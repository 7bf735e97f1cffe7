"""The CPU time and the memory of programs: a process and its children, read from /proc.

Only the standard library is needed, so that load drivers in any environment can use it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"
# Fields of /proc/…/stat after the name, which is in parentheses.
_PARENT, _FIRST_TIME, _AFTER_TIMES = 1, 11, 15


class CpuMeter:
    """The CPU time of programs since the meter was created."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def spent(self) -> dict[str, float]:
        """CPU seconds by program."""
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}


def tree(pid: int) -> list[int]:
    """A process and all processes below it."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a program, including children that have exited."""
    ticks = sum(sum(map(int, _stat(each)[_FIRST_TIME:_AFTER_TIMES])) for each in tree(pid))
    return ticks / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory of a program."""
    return sum(_kilobytes(each, "status", "VmRSS:") for each in tree(pid)) * 1024


def peak_bytes(pid: int) -> int:
    """The highest resident memory of a program since `reset_peaks`."""
    return sum(_kilobytes(each, "status", "VmHWM:") for each in tree(pid)) * 1024


def own_proportional_bytes(pid: int) -> int:
    """Memory of one process, with shared pages divided among those that share them (PSS)."""
    return _kilobytes(pid, "smaps_rollup", "Pss:") * 1024


def program_name(pid: int) -> str:
    """The name of a process's executable; empty if it has exited."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def reset_peaks(pids: Mapping[str, int]) -> None:
    """Let `peak_bytes` of these programs start again from their present memory."""
    for pid in pids.values():
        for each in tree(pid):
            with suppress(OSError):
                (_PROC / str(each) / "clear_refs").write_text(_RESET_PEAK)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a program; processes that have just exited are left out."""
    for each in tree(pid):
        with suppress(ProcessLookupError):
            os.kill(each, number)


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _kilobytes(pid: int, file: str, field: str) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / file).read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
