"""Faults of the database that tests cause on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.sql import run


@contextmanager
def broken_schema(database_url: str) -> Iterator[None]:
    """Without a column that every statement names: an error that no code expects."""
    run(database_url, "ALTER TABLE analysis.jobs RENAME COLUMN state TO hidden")
    try:
        yield
    finally:
        run(database_url, "ALTER TABLE analysis.jobs RENAME COLUMN hidden TO state")
