"""One stack a data directory: the lock, and who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from stack.environment import write_private
from stack.errors import StackError

_ENDING_SECONDS = 40.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Holder:
    """The stack that runs, or ran, on a data directory."""

    pid: int
    gateway_url: str
    runtime: str


@contextmanager
def locked(data_dir: Path) -> Iterator[IO[str]]:
    """Hold the data directory; raises a StackError when another stack does."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "lock").open("a") as lock:
        if not _take(lock):
            _wait_for_end(data_dir, lock)
        _clear_traces(data_dir)
        try:
            yield lock
        finally:
            (data_dir / "stack.json").unlink(missing_ok=True)


def is_locked(data_dir: Path) -> bool:
    """Whether a stack runs on the data directory, or is still ending."""
    path = data_dir / "lock"
    if not path.exists():
        return False
    with path.open("a") as lock:
        return not _take(lock)


def wait_until_unlocked(data_dir: Path) -> bool:
    """Wait for a stack to end; False when it does not."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while is_locked(data_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def write_holder(data_dir: Path, holder: Holder) -> None:
    """Tell others who holds the data directory."""
    write_private(data_dir / "stack.json", json.dumps(asdict(holder)))


def read_holder(data_dir: Path) -> Holder | None:
    """Who holds the data directory, or held it until a crash."""
    try:
        return Holder(**json.loads((data_dir / "stack.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_end(data_dir: Path, lock: IO[str]) -> None:
    """Wait for what a killed stack has left: its supervisord is stopping everything."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while not _take(lock):
        holder = read_holder(data_dir)
        if (holder and is_alive(holder.pid)) or time.monotonic() > deadline:
            who = f" (process {holder.pid}, {holder.gateway_url})" if holder else ""
            raise StackError(
                f"A stack runs on {data_dir} already{who}. Use that one, stop it with"
                " `make down`, or set SORI_DATA_DIR to another directory."
            )
        time.sleep(_PAUSE_SECONDS)


def _clear_traces(data_dir: Path) -> None:
    """Remove the short-lived folder of a stack that was killed."""
    dead = read_holder(data_dir)
    if dead and Path(dead.runtime).name.startswith("sori-"):
        shutil.rmtree(dead.runtime, ignore_errors=True)
