"""Statements that a test runs itself, on a separate connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg


def run(database_url: str, *statements: str) -> None:
    """Run statements in order, each in its own transaction."""

    async def executed(connection: asyncpg.Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    _connected(database_url, executed)


def row(database_url: str, statement: str) -> dict[str, Any]:
    """The only row of a query's result."""

    async def fetched(connection: asyncpg.Connection) -> dict[str, Any]:
        (record,) = await connection.fetch(statement)
        return dict(record)

    found: dict[str, Any] = _connected(database_url, fetched)
    return found


def _connected(database_url: str, call: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def called() -> Any:
        connection = await asyncpg.connect(database_url)
        try:
            return await call(connection)
        finally:
            await connection.close()

    # In a thread: fixtures of asynchronous tests call this while an event loop runs.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, called()).result()
