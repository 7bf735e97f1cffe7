"""The connections of a service: statements without a transaction, and lost connections."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from datetime import timedelta

import pytest
from sqlalchemy import Integer, Text, bindparam, column, func, insert, literal, select, table, text
from sqlalchemy.dialects import postgresql

from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings
from services.runtime.statements import Statement
from tests.integration.sql import run

notes = table("notes", column("id", Integer), column("content", Text))
ADD = Statement(
    insert(notes)
    .values(id=bindparam("id"), content=bindparam("content"))
    .returning(notes.c.id, notes.c.content)
)
COUNT = Statement(select(func.count()).where(notes.c.id.in_([1, 2])))
BACKEND = Statement(select(func.pg_backend_pid()))


@pytest.fixture(autouse=True)
def notes_table(database_url: str) -> None:
    run(database_url, "DROP TABLE IF EXISTS notes")
    run(database_url, "CREATE TABLE notes (id integer PRIMARY KEY, content text)")


async def test_a_statement_commits_by_itself(database: Database) -> None:
    async with database.connection() as first, database.connection() as second:
        row = await ADD.row(first, id=1, content="text")
        assert row is not None
        assert tuple(row) == (1, "text")
        assert [tuple(each) for each in await COUNT.rows(second)] == [(1,)]


async def test_constants_are_part_of_the_text(database: Database) -> None:
    values = ("it's 100 %", timedelta(minutes=1), None, True)
    numbers, document = literal([1], postgresql.ARRAY(Integer)), literal({}, postgresql.JSONB)
    constants = Statement(select(*map(literal, values), numbers, document))
    async with database.connection() as connection:
        row = await constants.row(connection)
    assert row is not None
    assert tuple(row) == (*values, [1], {})
    assert "'it''s 100 %'" in constants.sql


async def test_a_missing_parameter_is_an_error(database: Database) -> None:
    async with database.connection() as connection:
        with pytest.raises(KeyError):
            await ADD.row(connection, id=1)


@pytest.mark.parametrize("is_transaction", [False, True])
async def test_a_closed_connection_is_replaced(
    database: Database, database_url: str, is_transaction: bool
) -> None:
    async with database.connection() as connection:
        await BACKEND.row(connection)
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
    )
    await asyncio.to_thread(run, database_url, others)
    await closed.wait()
    if is_transaction:
        async with database.transaction() as transaction:
            assert await transaction.scalar(text("SELECT 1")) == 1
    else:
        async with database.connection() as connection:
            assert await BACKEND.row(connection) is not None


async def test_a_cancelled_statement_blocks_no_connection(database_url: str) -> None:
    settings = DatabaseSettings(database_url=database_url, database_pool_size=1)
    sleep = Statement(select(func.pg_sleep(60)))
    async with Database(settings, "test") as database:

        async def sleep_long() -> None:
            async with database.connection() as connection:
                await sleep.row(connection)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep_long(), 0.5)
        async with database.connection() as connection:
            assert await BACKEND.row(connection) is not None


async def test_a_missing_table_is_unavailable(database: Database, database_url: str) -> None:
    await asyncio.to_thread(run, database_url, "DROP TABLE notes")
    with pytest.raises(DatabaseUnavailable):
        async with database.connection() as connection:
            await COUNT.rows(connection)


async def add_without_id(database: Database, content: str, *, in_transaction: bool) -> None:
    if in_transaction:
        async with database.transaction() as transaction:
            await transaction.execute(insert(notes).values(id=None, content=content))
    async with database.connection() as connection:
        await ADD.row(connection, id=None, content=content)


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_an_error_contains_no_value_of_a_row(
    database: Database, in_transaction: bool
) -> None:
    content = secrets.token_urlsafe()
    # The detail of PostgreSQL's error is the whole row.
    with pytest.raises(Exception, match="violates not-null constraint") as failed:
        await add_without_id(database, content, in_transaction=in_transaction)
    assert content not in "".join(traceback.format_exception(failed.value))
