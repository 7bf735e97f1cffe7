"""The statements that a call runs, and how PostgreSQL runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.database import Database

ASYNCPG_QUERIES = ("pg_catalog.", "'jit'")
"""Parts of the queries by which asyncpg learns the types of a new connection, once."""

PLANNED = "EXPLAIN"
MEASURED = "EXPLAIN (ANALYZE, BUFFERS, TIMING off)"
"""Also runs the statement, so it serves only statements that may run twice."""


async def statements_of(database: Database, call: Awaitable[object]) -> list[tuple[str, Any]]:
    """All statements that a call runs, with their parameters.

    Those of SQLAlchemy come from its event, those of `Statement` from asyncpg, which logs
    only statements that it prepares itself.
    """
    statements: list[tuple[str, Any]] = []
    connections: set[asyncpg.Connection] = set()

    def record(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    def record_direct(logged: asyncpg.connection.LoggedQuery) -> None:
        if not any(part in logged.query for part in ASYNCPG_QUERIES):
            statements.append((logged.query, tuple(logged.args)))

    def observe(connection: Any, *_: object) -> None:
        connection.driver_connection.add_query_logger(record_direct)
        connections.add(connection.driver_connection)

    engine: AsyncEngine = database._engine
    event.listen(engine.sync_engine, "before_cursor_execute", record)
    event.listen(engine.sync_engine, "checkout", observe)
    try:
        await call
        # asyncpg logs in the next iteration of the event loop.
        await asyncio.sleep(0)
    finally:
        event.remove(engine.sync_engine, "checkout", observe)
        event.remove(engine.sync_engine, "before_cursor_execute", record)
        for connection in connections:
            connection.remove_query_logger(record_direct)
    return statements


async def plans_of(
    database: Database, call: Awaitable[object], tables: str, explain: str = PLANNED
) -> list[str]:
    """The plans of all statements of a call that contain `tables`: a table or its schema."""
    found = []
    statements = await statements_of(database, call)
    async with database.transaction() as connection:
        for statement, parameters in statements:
            if tables in statement:
                answer = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
                found.append("\n".join(row[0] for row in answer))
    assert found
    return found


async def buffers(database: Database, call: Awaitable[object], tables: str) -> int:
    """The number of pages that the statements of a call read."""
    total = 0
    for plan in await plans_of(database, call, tables, MEASURED):
        line = next(line for line in plan.splitlines() if "Buffers:" in line)
        counts = line.split("shared ")[1].split()
        total += sum(int(count.split("=")[1]) for count in counts if "=" in count)
    return total
