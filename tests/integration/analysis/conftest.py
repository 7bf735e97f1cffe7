"""The store and the queue of jobs on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.analysis.store import ExpiredJobs, JobQueue, JobStore
from services.runtime.database import Database


@pytest.fixture
async def store(database: Database) -> AsyncIterator[JobStore]:
    yield JobStore(database)
    # Jobs of this test must not be due in the next one.
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM analysis.jobs"))


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)


@pytest.fixture
def expired_jobs(database: Database) -> ExpiredJobs:
    return ExpiredJobs(database)
