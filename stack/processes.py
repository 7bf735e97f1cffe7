"""How programs are run: bound to the life of their parent, and never as root if they refuse."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from stack.errors import StackError

# The user "nobody" of every Linux.
_UNPRIVILEGED_ID = 65534


def bound_to_parent(command: list[str], signal: str = "TERM") -> list[str]:
    """The command, to be sent the signal when its parent dies, where the system can (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal, "--", *command] if setpriv else command


def unprivileged(command: list[str], signal: str = "TERM") -> list[str]:
    """As `bound_to_parent`, but as nobody when we are root.

    It keeps the right to pass folders that only root may, so that no permissions of
    anything above the data directory need to change.
    """
    if os.geteuid() != 0:
        return bound_to_parent(command, signal)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root, and `setpriv` (util-linux) is missing."
            " Install it or run as another user."
        )
    capability = "+dac_override"
    return [
        setpriv,
        f"--reuid={_UNPRIVILEGED_ID}",
        f"--regid={_UNPRIVILEGED_ID}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
        "--pdeathsig",
        signal,
        "--",
        *command,
    ]


def give_to_unprivileged(folder: Path) -> None:
    """Make the folder belong to whom `unprivileged` runs programs as."""
    if os.geteuid() == 0 and folder.stat().st_uid != _UNPRIVILEGED_ID:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID, follow_symlinks=False)


def as_config(command: list[str]) -> str:
    """The command as supervisor's configuration wants it."""
    return shlex.join(command).replace("%", "%%")


def as_environment(variables: Mapping[str, str]) -> str:
    """Variables, whose values have no quotes, as supervisor's configuration wants them."""
    return ",".join(f'{name}="{value}"' for name, value in variables.items()).replace("%", "%%")
