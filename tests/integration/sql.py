"""Statements of a test's own, on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg


def run(database_url: str, *statements: str) -> None:
    """Run statements one after the other, each of them committed."""

    async def executed(connection: asyncpg.Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    _connected(database_url, executed)


def row(database_url: str, statement: str) -> dict[str, Any]:
    """The one row of a query."""

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

    # In a thread, because fixtures of asynchronous tests call this in a running loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, called()).result()
