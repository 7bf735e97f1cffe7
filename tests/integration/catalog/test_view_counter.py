"""The view counter stores all views, also after failed writes and when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.catalog.models import Actor, Token
from services.catalog.store import CatalogStore
from services.catalog.view_counter import ViewCounter
from services.runtime.database import Database
from services.runtime.shared_errors import TokenNotFound

NEVER_SECONDS = 3600


@asynccontextmanager
async def broken_table(database: Database) -> AsyncIterator[None]:
    """While the context is open, statements that write views fail unexpectedly."""
    rename = "ALTER TABLE catalog.tokens RENAME COLUMN {} TO {}"
    async with database.transaction() as connection:
        await connection.execute(text(rename.format("view_count", "hidden")))
    try:
        yield
    finally:
        async with database.transaction() as connection:
            await connection.execute(text(rename.format("hidden", "view_count")))


@pytest.fixture
async def token_id(catalog: CatalogStore) -> int:
    actor = await catalog.actors.create(Actor("a"))
    token = await catalog.tokens.create(Token("clip", (actor.id or 0,), "", "", 0, 10))
    return token.id or 0


async def view_count(catalog: CatalogStore, token_id: int) -> int:
    return (await catalog.tokens.get(token_id)).view_count


async def test_views_are_stored_when_the_counter_stops(
    catalog: CatalogStore, token_id: int
) -> None:
    counter = ViewCounter(catalog.tokens, NEVER_SECONDS)
    running = asyncio.create_task(counter.run())
    # A task that is cancelled before it starts runs nothing.
    await asyncio.sleep(0)
    for _ in range(3):
        await counter.record(token_id)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert await view_count(catalog, token_id) == 3


async def test_a_failed_write_loses_no_view(
    catalog: CatalogStore, database: Database, token_id: int
) -> None:
    counter = ViewCounter(catalog.tokens, NEVER_SECONDS)
    await counter.record(token_id)
    async with broken_table(database):
        with pytest.raises(DBAPIError):
            await counter.flush()
        await counter.record(token_id)
    await counter.flush()
    assert await view_count(catalog, token_id) == 2


async def test_a_failed_write_at_the_end_is_logged_and_not_raised(
    catalog: CatalogStore, database: Database, token_id: int
) -> None:
    counter = ViewCounter(catalog.tokens, NEVER_SECONDS)
    await counter.record(token_id)
    async with broken_table(database):
        running = asyncio.create_task(counter.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()


async def test_a_view_of_an_unknown_token_is_refused(catalog: CatalogStore) -> None:
    counter = ViewCounter(catalog.tokens, NEVER_SECONDS)
    with pytest.raises(TokenNotFound):
        await counter.record(1)
