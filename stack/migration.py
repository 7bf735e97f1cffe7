"""Migrating the database of a stack."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from services.registry import MIGRATED_SERVICES
from services.runtime.revisions import head_revisions
from stack import probes
from stack.errors import StackError, reason_in
from stack.logs import Logs
from stack.processes import bound_to_parent

_PAUSE_SECONDS = 0.1
# The last line of a traceback: the exception and its text.
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Violation)\w*: .+", re.MULTILINE)


def are_at_heads(database_url: str) -> bool:
    """Whether no schema needs a migration; also False if that cannot be read."""
    try:
        found = probes.revisions(database_url, MIGRATED_SERVICES)
    except Exception:
        # The migration fails with a reason, or creates what is missing.
        return False
    return all({found[service]} == head_revisions(service) for service in MIGRATED_SERVICES)


def migrate(
    environment: Mapping[str, str], folder: Path, logs: Logs, report: Callable[[str], None]
) -> None:
    """Bring the schemas of all services to their heads.

    folder: the working directory.
    report: called often with a short description; may raise to abandon the migration.

    Errors: StackError with the reason.
    """
    log = logs.path("migrations")
    with log.open("wb") as output:
        process = subprocess.Popen(
            bound_to_parent([sys.executable, "-m", "services.runtime.migrations"]),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach only this process.
            start_new_session=True,
        )
        try:
            _await(process, report)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        text = logs.text("migrations")
        reason = reason_in(text) or _last_exception(text)
        raise StackError(f"The database could not be migrated: {reason} The log is {log}.")


def _await(process: subprocess.Popen[bytes], report: Callable[[str], None]) -> None:
    while True:
        report("migrating the database")
        try:
            process.wait(_PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _last_exception(text: str) -> str:
    """The text of the last exception in a log, else its last line."""
    found = _EXCEPTION.findall(text) or text.strip().splitlines()[-1:]
    return f"{found[-1].rstrip('.')}." if found else "it wrote nothing."
