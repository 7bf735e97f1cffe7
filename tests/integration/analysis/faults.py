"""Faults of the database that tests cause on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.sql import run


@contextmanager
def hidden_jobs(database_url: str) -> Iterator[None]:
    """Without the table of jobs, as on a database that was never migrated."""
    run(database_url, "ALTER TABLE analysis.jobs RENAME TO hidden")
    try:
        yield
    finally:
        run(database_url, "ALTER TABLE analysis.hidden RENAME TO jobs")
