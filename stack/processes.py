"""Commands of programs: bound to the life of their parent, and without root's rights."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from stack.errors import StackError

# The user "nobody" of every Linux.
_UNPRIVILEGED_ID = 65534


def bound_to_parent(command: list[str], signal: str = "TERM") -> list[str]:
    """The command; on Linux it receives the signal when its parent dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal, "--", *command] if setpriv else command


def unprivileged(command: list[str], signal: str = "TERM") -> list[str]:
    """As `bound_to_parent`, but root runs the command as the user nobody.

    The command keeps root's right to enter folders, so that the folders above the data
    directory need no other permissions.
    """
    if not runs_as_root():
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


def runs_as_root() -> bool:
    """Whether this process is root, so that `unprivileged` changes the user."""
    return os.geteuid() == 0


def closed_folders(file: Path) -> list[Path]:
    """The folders above a file that only their owner and group may enter, outermost first."""
    above = {*file.absolute().parents, *file.resolve().parents}
    return sorted(folder for folder in above if not folder.stat().st_mode & stat.S_IXOTH)


def give_to_unprivileged(folder: Path) -> None:
    """Make the user that `unprivileged` runs programs as the owner of the folder."""
    if runs_as_root() and folder.stat().st_uid != _UNPRIVILEGED_ID:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID, follow_symlinks=False)


def as_config(command: list[str]) -> str:
    """The command in the syntax of supervisord's configuration."""
    return shlex.join(command).replace("%", "%%")


def as_environment(variables: Mapping[str, str]) -> str:
    """Variables in the syntax of supervisord's configuration; values must have no quotes."""
    return ",".join(f'{name}="{value}"' for name, value in variables.items()).replace("%", "%%")
