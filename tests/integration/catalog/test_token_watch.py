"""Token watches: a snapshot, then every change, across reconnects and late commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from sqlalchemy import text

from services.catalog.models import Actor, Script, Token, TokenChange
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.runtime.database import Database
from services.runtime.errors import InvalidField, ShuttingDown

TOKEN = Token("clip", (1,), "", "", 0, 10)


@pytest.fixture
async def watch(catalog: CatalogStore, database: Database) -> AsyncIterator[TokenWatch]:
    await catalog.actors.create(Actor("a"))
    watch = TokenWatch(catalog.changes, database, heartbeat_seconds=0.2)
    listening = asyncio.create_task(watch.run())
    yield watch
    listening.cancel()
    await asyncio.wait([listening])


async def changes_after(
    watch: TokenWatch, cursor: str, count: int
) -> tuple[list[TokenChange], str]:
    """At least `count` changes after a cursor, and the cursor after them."""
    changes: list[TokenChange] = []
    async with asyncio.timeout(10), aclosing(watch.watch(cursor)) as batches:
        async for batch in batches:
            changes += batch.changes
            if len(changes) >= count:
                return changes, batch.cursor
    raise AssertionError


async def snapshot(watch: TokenWatch) -> tuple[list[TokenChange], str]:
    changes: list[TokenChange] = []
    async with asyncio.timeout(10), aclosing(watch.watch("")) as batches:
        async for batch in batches:
            assert batch.is_snapshot
            changes += batch.changes
            if batch.cursor:
                return changes, batch.cursor
    raise AssertionError


async def test_a_watch_starts_with_all_tokens(catalog: CatalogStore, watch: TokenWatch) -> None:
    token = await catalog.tokens.create(TOKEN)
    changes, cursor = await snapshot(watch)
    assert changes == [TokenChange(token.id or 0, 1, deleted=False)]
    assert cursor


async def test_every_kind_of_change_is_sent(catalog: CatalogStore, watch: TokenWatch) -> None:
    _, cursor = await snapshot(watch)
    token = await catalog.tokens.create(TOKEN)
    token_id = token.id or 0
    changes, cursor = await changes_after(watch, cursor, 1)
    assert changes == [TokenChange(token_id, 1, deleted=False)]
    script = await catalog.scripts.create(Script(token_id, "x", "", "", 0, 1))
    changes, cursor = await changes_after(watch, cursor, 1)
    assert changes == [TokenChange(token_id, 2, deleted=False)]
    await catalog.scripts.delete(script.id or 0, "")
    await catalog.tokens.delete(token_id, "", force=False)
    changes, cursor = await changes_after(watch, cursor, 1)
    assert changes[-1] == TokenChange(token_id, 3, deleted=True)


async def test_changes_between_two_watches_are_sent_to_the_second(
    catalog: CatalogStore, watch: TokenWatch
) -> None:
    _, cursor = await snapshot(watch)
    created = [await catalog.tokens.create(TOKEN) for _ in range(3)]
    changes, _ = await changes_after(watch, cursor, 3)
    assert [change.token_id for change in changes] == [token.id for token in created]


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
        # The quick change is held back until the slow transaction, which is older, has ended.
        async with asyncio.timeout(10), aclosing(watch.watch(cursor)) as batches:
            heartbeat = await anext(batches)
        assert heartbeat.changes == []
    changes, _ = await changes_after(watch, heartbeat.cursor, 2)
    assert {change.token_id for change in changes} == {(quick.id or 0) - 1, quick.id}


async def test_a_view_is_not_a_change(catalog: CatalogStore, watch: TokenWatch) -> None:
    token = await catalog.tokens.create(TOKEN)
    _, cursor = await snapshot(watch)
    # A change in the snapshot may be sent again.
    _, cursor = await changes_after(watch, cursor, 0)
    await catalog.tokens.add_views({token.id or 0: 1})
    second = await catalog.tokens.create(TOKEN)
    changes, _ = await changes_after(watch, cursor, 1)
    assert [change.token_id for change in changes] == [second.id]


@pytest.mark.parametrize("cursor", ["999999999999.0.9999999999", "1.0.1"])
async def test_an_expired_or_foreign_cursor_leads_to_a_snapshot(
    watch: TokenWatch, cursor: str
) -> None:
    async with asyncio.timeout(10), aclosing(watch.watch(cursor)) as batches:
        assert (await anext(batches)).is_snapshot


async def test_a_malformed_cursor_is_refused(watch: TokenWatch) -> None:
    with pytest.raises(InvalidField):
        await changes_after(watch, "x", 1)


async def test_a_watch_ends_when_the_server_stops(watch: TokenWatch) -> None:
    _, cursor = await snapshot(watch)

    async with asyncio.timeout(10), aclosing(watch.watch(cursor)) as batches:
        # The first batch shows that the watch runs: it is a repeat or a heartbeat.
        await anext(batches)
        await watch.stop()
        with pytest.raises(ShuttingDown):
            await anext(batches)
