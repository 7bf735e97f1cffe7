"""One stack per data directory: the lock, and its holder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
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
    """The stack that uses, or used, a data directory."""

    pid: int
    gateway_url: str
    runtime: str


@contextmanager
def locked(data_dir: Path, report: Callable[[str], None] = lambda _: None) -> Iterator[IO[str]]:
    """Lock the data directory.

    report: called often with a short description while another stack stops; may raise.

    Errors: StackError if another stack uses it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "lock").open("a") as lock:
        if not _try_lock(lock):
            _wait_for_end(data_dir, lock, report)
        _remove_runtime_folder(data_dir)
        try:
            yield lock
        finally:
            (data_dir / "stack.json").unlink(missing_ok=True)


def is_locked(data_dir: Path) -> bool:
    """Whether a stack uses the data directory, or is still stopping."""
    path = data_dir / "lock"
    if not path.exists():
        return False
    with path.open("a") as lock:
        return not _try_lock(lock)


def wait_until_unlocked(data_dir: Path) -> bool:
    """Wait until a stack has stopped; returns False after a timeout."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while is_locked(data_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def write_holder(data_dir: Path, holder: Holder) -> None:
    """Record the holder of the data directory for other processes."""
    write_private(data_dir / "stack.json", json.dumps(asdict(holder)))


def read_holder(data_dir: Path) -> Holder | None:
    """The holder of the data directory; after a crash, the last one."""
    try:
        return Holder(**json.loads((data_dir / "stack.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_end(data_dir: Path, lock: IO[str], report: Callable[[str], None]) -> None:
    """Wait for the supervisord of a killed stack, which stops its programs."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while not _try_lock(lock):
        report("waiting until another stack has stopped")
        holder = read_holder(data_dir)
        if (holder and is_alive(holder.pid)) or time.monotonic() > deadline:
            who = f" (process {holder.pid}, {holder.gateway_url})" if holder else ""
            raise StackError(
                f"Another stack already uses {data_dir}{who}. Use that one, stop it with"
                " `make down`, or set SORI_DATA_DIR to another directory."
            )
        time.sleep(_PAUSE_SECONDS)


def _remove_runtime_folder(data_dir: Path) -> None:
    """Remove the temporary folder of a stack that was killed."""
    dead = read_holder(data_dir)
    if dead and Path(dead.runtime).name.startswith("sori-"):
        shutil.rmtree(dead.runtime, ignore_errors=True)
