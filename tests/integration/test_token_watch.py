"""Watching tokens: a snapshot, then every change, across reconnects and commits out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from sqlalchemy import text

from services.catalog.models import Actor, Script, Token, TokenChange
from services.catalog.store import CatalogStore
from services.catalog.token_watch import Notice, TokenWatch
from services.runtime.database import Database
from services.runtime.errors import InvalidField, ShuttingDown

TOKEN = Token("clip", (1,), "", "", 0, 10)


@pytest.fixture
async def watch(catalog: CatalogStore, database: Database) -> AsyncIterator[TokenWatch]:
    await catalog.actors.create(Actor("a"))
    watch = TokenWatch(catalog.changes, database, heartbeat_seconds=0.2)
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()


async def told(watch: TokenWatch, cursor: str, count: int) -> tuple[list[TokenChange], str]:
    """At least so many changes after a cursor, and the cursor after them."""
    changes: list[TokenChange] = []
    async with asyncio.timeout(10), aclosing(watch.watch(cursor)) as notices:
        async for notice in notices:
            changes += notice.changes
            if len(changes) >= count:
                return changes, notice.cursor
    raise AssertionError


async def snapshot(watch: TokenWatch) -> tuple[list[TokenChange], str]:
    changes: list[TokenChange] = []
    async with aclosing(watch.watch("")) as notices:
        async for notice in notices:
            assert notice.is_snapshot
            changes += notice.changes
            if notice.cursor:
                return changes, notice.cursor
    raise AssertionError


async def test_a_watch_begins_with_all_tokens(catalog: CatalogStore, watch: TokenWatch) -> None:
    token = await catalog.tokens.create(TOKEN)
    changes, cursor = await snapshot(watch)
    assert changes == [TokenChange(token.id or 0, 1, deleted=False)]
    assert cursor


async def test_every_kind_of_change_is_told(catalog: CatalogStore, watch: TokenWatch) -> None:
    _, cursor = await snapshot(watch)
    token = await catalog.tokens.create(TOKEN)
    token_id = token.id or 0
    changes, cursor = await told(watch, cursor, 1)
    assert changes == [TokenChange(token_id, 1, deleted=False)]
    script = await catalog.scripts.create(Script(token_id, "x", "", "", 0, 1))
    changes, cursor = await told(watch, cursor, 1)
    assert changes == [TokenChange(token_id, 2, deleted=False)]
    await catalog.scripts.delete(script.id or 0, "")
    await catalog.tokens.delete(token_id, "", force=False)
    changes, cursor = await told(watch, cursor, 1)
    assert changes[-1] == TokenChange(token_id, 3, deleted=True)


async def test_a_change_while_nobody_watched_is_told_afterwards(
    catalog: CatalogStore, watch: TokenWatch
) -> None:
    _, cursor = await snapshot(watch)
    made = [await catalog.tokens.create(TOKEN) for _ in range(3)]
    changes, _ = await told(watch, cursor, 3)
    assert [change.token_id for change in changes] == [token.id for token in made]


async def test_a_transaction_that_commits_late_is_not_skipped(
    catalog: CatalogStore, watch: TokenWatch, database: Database
) -> None:
    _, cursor = await snapshot(watch)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO catalog.tokens (name, category, source_url, start_time, end_time)"
                " VALUES ('slow', '', '', 0, 1)"
            )
        )
        quick = await catalog.tokens.create(TOKEN)
        # The quick one waits for the slow one, which has begun before it.
        async with aclosing(watch.watch(cursor)) as notices:
            heartbeat = await anext(notices)
        assert heartbeat.changes == []
    changes, _ = await told(watch, heartbeat.cursor, 2)
    assert {change.token_id for change in changes} == {(quick.id or 0) - 1, quick.id}


async def test_views_are_no_change(catalog: CatalogStore, watch: TokenWatch) -> None:
    token = await catalog.tokens.create(TOKEN)
    _, cursor = await snapshot(watch)
    # A change of the snapshot may be told once more.
    _, cursor = await told(watch, cursor, 0)
    await catalog.tokens.add_views({token.id or 0: 1})
    second = await catalog.tokens.create(TOKEN)
    changes, _ = await told(watch, cursor, 1)
    assert [change.token_id for change in changes] == [second.id]


@pytest.mark.parametrize("cursor", ["999999999999.0.9999999999", "1.0.1"])
async def test_a_cursor_that_helps_no_more_begins_with_a_snapshot(
    watch: TokenWatch, cursor: str
) -> None:
    async with aclosing(watch.watch(cursor)) as notices:
        assert (await anext(notices)).is_snapshot


async def test_a_cursor_that_is_none_is_refused(watch: TokenWatch) -> None:
    with pytest.raises(InvalidField):
        await told(watch, "x", 1)


async def test_watches_end_when_the_server_stops(watch: TokenWatch) -> None:
    _, cursor = await snapshot(watch)

    async def follow() -> list[Notice]:
        return [notice async for notice in watch.watch(cursor)]

    following = asyncio.create_task(follow())
    await watch.stop()
    with pytest.raises(ShuttingDown):
        await following
