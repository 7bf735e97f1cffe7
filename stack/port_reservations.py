"""Reserve ports between processes: several stacks may start at the same time.

A port is free until its program listens, so that two processes could choose the same
one. Each process locks one byte of a common file for each port that it chooses. The
system releases the locks when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

_reserved: set[int] = set()


def reserve(port: int) -> bool:
    """Reserve a port for the life of this process. False: it is reserved already."""
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_lock_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    _reserved.add(port)
    return True


@cache
def _lock_file() -> IO[bytes]:
    # It stays open: closing any handle of the file would release all locks of the process.
    return (Path(tempfile.gettempdir()) / f"sori-ports-{os.getuid()}.lock").open("ab")
