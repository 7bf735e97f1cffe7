"""The log files of a stack's programs."""

from __future__ import annotations

from pathlib import Path

from stack.errors import reason_in

_TAIL_LINES = 30


class Logs:
    """One file per program, in the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "logs"

    def path(self, name: str) -> Path:
        """The log file of a program."""
        return self.folder / f"{name}.log"

    def text(self, name: str) -> str:
        """The log of a program since the stack was created, without rotated files."""
        path = self.path(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def tail(self, name: str) -> str:
        """Why a program failed if its log names a known reason; else the end of the log.

        With the log's path, for error messages.
        """
        lines = self.text(name).splitlines()[-_TAIL_LINES:]
        if reason := reason_in("\n".join(lines)):
            return f"{reason} The log is {self.path(name)}."
        return "\n".join([f"The end of {self.path(name)}:", *lines])
