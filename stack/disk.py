"""The disk of the data directory: enough room for a start, and a warning before it is full."""

from __future__ import annotations

import shutil
from pathlib import Path

from stack.errors import StackError

_MIB = 1024**2
START_BYTES = 256 * _MIB
"""Room for a new database, its write-ahead log and SeaweedFS's first volumes."""
LOW_BYTES = 64 * _MIB
"""With less, uploads and jobs are about to fail."""


def free_bytes(folder: Path) -> int:
    """The bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def require_space(folder: Path) -> None:
    """Check that a stack can start. Errors: StackError if the disk has too little room."""
    free = free_bytes(folder)
    if free < START_BYTES:
        raise StackError(
            f"The disk of {folder} has only {free // _MIB} MiB left, and the stack needs"
            f" {START_BYTES // _MIB} MiB. Free some space, or set SORI_DATA_DIR to a folder on"
            " another disk."
        )


class DiskWatch:
    """Warns once when the disk becomes almost full, and again after it was not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_low = False

    def warning(self) -> str:
        """A sentence when the disk has just become almost full; else empty."""
        free = free_bytes(self._folder)
        was_low, self._is_low = self._is_low, free < LOW_BYTES
        if not self._is_low or was_low:
            return ""
        return (
            f"The disk of {self._folder} is almost full: {free // _MIB} MiB are left."
            " Uploads and jobs fail until you free some space."
        )
