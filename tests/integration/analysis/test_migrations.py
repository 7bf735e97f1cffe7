"""Migrations keep all jobs of the first schema, while services of that release write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from services.analysis.tables import metadata
from tests.integration.sql import row, run

SERVICE = Path(__file__).parents[3] / "services" / "analysis"
ENDED = 12_345

FIRST = f"""
INSERT INTO analysis.jobs (
    job_id, token_id, state, progress, attempts, due_time, object_key, result, failure_reason,
    update_time
)
SELECT
    uuidv7(), 1, state, 0, 3,
    CASE WHEN state NOT IN ('completed', 'failed') THEN now() + interval '5 minutes' END,
    'recordings/1/x',
    CASE state WHEN 'completed' THEN '\\x00'::bytea END,
    CASE state WHEN 'failed' THEN 'SILENT_AUDIO' END,
    now() - interval '1 day'
FROM (
    SELECT unnest(ARRAY['opened', 'uploading', 'queued', 'dispatched']) AS state
    UNION ALL
    SELECT (ARRAY['completed', 'failed'])[number % 2 + 1]
    FROM generate_series(1, {ENDED}) AS number
) AS states
"""

# Statements of a service of the first schema.
OPEN = """
INSERT INTO analysis.jobs (job_id, token_id, state, progress, due_time)
VALUES (uuidv7(), 2, 'opened', 10, now() + interval '1 hour') RETURNING job_id
"""
FAIL = """
UPDATE analysis.jobs SET state = 'failed', failure_reason = 'SILENT_AUDIO', due_time = NULL
WHERE job_id = $1
"""

COUNTS = """
SELECT
    count(*) FILTER (WHERE token_id = 1) AS kept,
    count(*) FILTER (WHERE token_id = 1 AND end_time = update_time) AS ended,
    count(*) FILTER (WHERE deadline = due_time AND (dispatches, counted_attempts) = (3, 3))
        AS with_time_left,
    count(*) FILTER (WHERE state = 'queued' AND deadline > due_time) AS with_an_hour,
    (SELECT count(*) FROM pg_constraint WHERE NOT convalidated) AS unchecked
FROM analysis.jobs
"""

WRITTEN = """
SELECT
    count(*) FILTER (WHERE state = 'opened' AND deadline = due_time) AS opened,
    count(*) FILTER (WHERE state = 'failed' AND end_time = update_time) AS failed
FROM analysis.jobs WHERE token_id = 2
"""

OPENED = "uuidv7(), 1, 'opened', 10, now(), now()"
COUNTED = """
INSERT INTO analysis.jobs
    (job_id, token_id, state, progress, due_time, deadline, attempts, tries)
"""
SUPERSEDED = """
INSERT INTO analysis.jobs (job_id, token_id, state, progress, end_time, failure_reason)
VALUES (uuidv7(), 1, 'failed', 10, now(), 'UPLOAD_SUPERSEDED')
"""

# The columns, indexes and constraints of each table.
SCHEMA = """
SELECT array_agg(line ORDER BY line) AS lines FROM (
    SELECT concat_ws(
        ' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid)
    )
    FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
    JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'analysis'::regnamespace AND relkind = 'r' AND attnum > 0
        AND NOT attisdropped
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'analysis'
    UNION ALL
    SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE connamespace = 'analysis'::regnamespace
) AS lines (line)
WHERE line NOT LIKE '%alembic_version%'
"""

WAITING = """
SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'
"""


@pytest.fixture
def config(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    config = Config(SERVICE / "alembic.ini")
    yield config
    command.upgrade(config, "head")
    run(database_url, "TRUNCATE analysis.jobs CASCADE")


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def upgraded_during(
    config: Config,
    writer: Callable[[asyncio.Event, asyncio.Event], Any],
    revision: str = "head",
) -> Any:
    """Upgrade while the writer runs; returns what it returns.

    The writer sets its first event when the upgrade may start; the second one is set when
    the upgrade has ended.
    """
    ready, done = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(writer(ready, done))
    async with asyncio.timeout(30):
        await ready.wait()
    await asyncio.to_thread(command.upgrade, config, revision)
    done.set()
    return await writing


def create_statements() -> list[str]:
    """The statements that create the tables without migrations."""
    postgresql = dialect()  # type: ignore[no-untyped-call]
    elements: list[DDLElement] = [CreateTable(table) for table in metadata.sorted_tables]
    elements += [CreateIndex(index) for table in metadata.sorted_tables for index in table.indexes]
    return [str(element.compile(dialect=postgresql)) for element in elements]


def test_all_jobs_are_kept_and_have_a_deadline_or_an_end(config: Config, database_url: str) -> None:
    command.downgrade(config, "0001")
    run(database_url, FIRST)
    command.upgrade(config, "head")
    assert row(database_url, COUNTS) == {
        "kept": ENDED + 4,
        "ended": ENDED,
        "with_time_left": 3,
        "with_an_hour": 1,
        "unchecked": 0,
    }


def test_services_of_the_first_release_write_until_the_constraints_are_exchanged(
    config: Config, database_url: str
) -> None:
    async def write(ready: asyncio.Event, done: asyncio.Event) -> dict[str, int]:
        """Insert jobs and fail every second one, until a statement is refused."""
        written = {"opened": 0, "failed": 0}
        async with connected(database_url) as connection:
            with suppress(asyncpg.CheckViolationError):
                while not done.is_set():
                    job_id = await connection.fetchval(OPEN)
                    written["opened"] += 1
                    await connection.fetchval(OPEN)
                    written["opened"] += 1
                    await connection.execute(FAIL, job_id)
                    written["opened"] -= 1
                    written["failed"] += 1
                    ready.set()
                    await asyncio.sleep(0.001)
        return written

    command.downgrade(config, "0001")
    run(database_url, FIRST)
    written = asyncio.run(upgraded_during(config, write))
    assert written["failed"] > 0
    assert row(database_url, WRITTEN) == written


def test_writes_do_not_wait_while_the_upgrade_waits_for_a_transaction(
    config: Config, database_url: str
) -> None:
    async def block(ready: asyncio.Event, done: asyncio.Event) -> bool:
        """Keep a transaction open until an index waits for it; then write in another one."""
        async with connected(database_url) as slow, connected(database_url) as quick:
            await slow.execute(f"BEGIN; {OPEN}")
            ready.set()
            while not await quick.fetchval(WAITING):
                assert not done.is_set()
                await asyncio.sleep(0.01)
            await quick.execute("SET lock_timeout = '1s'")
            await quick.execute(FAIL, await quick.fetchval(OPEN))
            is_before_the_end = not done.is_set()
            await slow.execute("COMMIT")
        return is_before_the_end

    command.downgrade(config, "0002")
    assert asyncio.run(upgraded_during(config, block))
    assert row(database_url, WRITTEN) == {"opened": 1, "failed": 1}


def test_the_migrated_schema_equals_that_of_the_tables(config: Config, database_url: str) -> None:
    command.downgrade(config, "0001")
    command.upgrade(config, "head")
    migrated = row(database_url, SCHEMA)["lines"]
    run(
        database_url,
        "ALTER SCHEMA analysis RENAME TO migrated; CREATE SCHEMA analysis",
        *create_statements(),
    )
    try:
        assert row(database_url, SCHEMA)["lines"] == migrated
    finally:
        run(
            database_url,
            "DROP SCHEMA analysis CASCADE; ALTER SCHEMA migrated RENAME TO analysis",
        )


@pytest.mark.parametrize(
    "left",
    [
        "CREATE INDEX ix_jobs_create_time ON analysis.jobs (token_id)",
        "CREATE UNIQUE INDEX uq_jobs_request_id ON analysis.jobs (job_id)",
    ],
    ids=["an index", "a unique index"],
)
def test_an_interrupted_upgrade_can_run_again(config: Config, database_url: str, left: str) -> None:
    command.downgrade(config, "0002")
    run(database_url, left)
    command.upgrade(config, "head")
    command.check(config)


def test_an_upgrade_that_was_interrupted_at_its_end_can_run_again(
    config: Config, database_url: str
) -> None:
    command.downgrade(config, "0003")
    run(database_url, "UPDATE analysis.alembic_version SET version_num = '0002'")
    command.upgrade(config, "head")
    command.check(config)


def test_the_counts_of_dispatches_keep_their_values(config: Config, database_url: str) -> None:
    command.downgrade(config, "0003")
    run(database_url, f"{COUNTED} VALUES ({OPENED}, 3, 2)")
    command.upgrade(config, "0004")
    counts = "SELECT dispatches, counted_attempts, failure_messages FROM analysis.jobs"
    assert row(database_url, counts) == {
        "dispatches": 3,
        "counted_attempts": 2,
        "failure_messages": "{}",
    }
    command.downgrade(config, "0003")
    assert row(database_url, "SELECT attempts, tries FROM analysis.jobs") == {
        "attempts": 3,
        "tries": 2,
    }


def test_superseded_requests_get_the_reason_of_this_release(
    config: Config, database_url: str
) -> None:
    reason = "SELECT failure_reason FROM analysis.jobs"
    command.downgrade(config, "0004")
    run(database_url, SUPERSEDED)
    command.upgrade(config, "0005")
    assert row(database_url, reason)["failure_reason"] == "REQUEST_SUPERSEDED"
    command.downgrade(config, "0004")
    assert row(database_url, reason)["failure_reason"] == "UPLOAD_SUPERSEDED"


def test_a_downgrade_turns_cancelled_jobs_into_failed_ones(
    config: Config, database_url: str
) -> None:
    command.downgrade(config, "0001")
    run(database_url, FIRST)
    command.upgrade(config, "head")
    run(
        database_url,
        "UPDATE analysis.jobs SET state = 'cancelled', failure_reason = 'CANCELLED',"
        " due_time = NULL, deadline = NULL, end_time = now() WHERE state = 'queued'",
    )
    command.downgrade(config, "0001")
    found = row(database_url, "SELECT count(*) AS kept FROM analysis.jobs")
    failed = row(
        database_url,
        "SELECT state FROM analysis.jobs WHERE failure_reason = 'CANCELLED'",
    )
    assert (found["kept"], failed["state"]) == (ENDED + 4, "failed")


FORMER_SUBMIT = """
INSERT INTO analysis.jobs
    (job_id, token_id, state, progress, due_time, deadline, object_key, request_id)
SELECT uuidv7(), 3, 'queued', 70, now(), now() + interval '1 hour', 'recordings/1/x', $1
ON CONFLICT DO NOTHING RETURNING job_id
"""
FORMER_CLAIM = """
UPDATE analysis.jobs SET due_time = now() + interval '10 seconds', dispatches = dispatches + 1
WHERE job_id = (
    SELECT job_id FROM analysis.jobs WHERE due_time <= now() AND state = 'queued'
    ORDER BY due_time LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING job_id
"""


def test_services_of_the_former_release_work_while_jobs_get_owners(
    config: Config, database_url: str
) -> None:
    async def work(ready: asyncio.Event, done: asyncio.Event) -> int:
        """Submit each request twice and claim its job, also after the upgrade."""
        requests = 0
        async with connected(database_url) as connection:
            while not (done.is_set() and requests > 10):
                request_id = f"request {requests}"
                job_id = await connection.fetchval(FORMER_SUBMIT, request_id)
                assert await connection.fetchval(FORMER_SUBMIT, request_id) is None
                assert await connection.fetchval(FORMER_CLAIM) == job_id
                requests += 1
                ready.set()
                await asyncio.sleep(0.001)
        return requests

    command.downgrade(config, "0006")
    requests = asyncio.run(upgraded_during(config, work))
    found = row(
        database_url,
        "SELECT count(*) AS jobs, count(DISTINCT request_id) AS requests, count(owner_id) AS owned"
        " FROM analysis.jobs",
    )
    assert found == {"jobs": requests, "requests": requests, "owned": 0}


def test_a_downgrade_from_owners_keeps_all_jobs(config: Config, database_url: str) -> None:
    run(
        database_url,
        "INSERT INTO analysis.jobs"
        " (job_id, token_id, state, progress, due_time, deadline, request_id, owner_id, turn)"
        " VALUES (uuidv7(), 1, 'opened', 10, now(), now(), E'a\\nrequest', 'a', 7)",
    )
    command.downgrade(config, "0006")
    found = row(database_url, "SELECT state, request_id FROM analysis.jobs")
    assert found == {"state": "opened", "request_id": "a\nrequest"}
