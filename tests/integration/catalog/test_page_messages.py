"""Lists and searches answer from memory until a token changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from services.catalog import page_messages
from services.catalog.freshness import wait_until_seen
from services.catalog.models import Actor, Token
from services.catalog.servicer import CatalogServicer
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.database import Database
from services.runtime.serialized import Serialized
from services.runtime.settings import DatabaseSettings
from services.runtime.watch_limit import WatchLimit
from sori.catalog.v1 import catalog_pb2 as pb
from tests.integration.plans import statements_of
from tests.integration.sql import run

LIST = pb.ListTokensRequest()
SEARCH = pb.SearchTokensRequest(query="suzy")


@pytest.fixture
def servicer(catalog: CatalogStore, database: Database) -> CatalogServicer:
    unused: Any = None
    return CatalogServicer(
        catalog,
        unused,
        unused,
        ViewCounter(catalog.tokens, 3600),
        TokenWatch(catalog.changes, database, heartbeat_seconds=15),
        WatchLimit(per_client=0, total=0),
        cache_bytes=1024**2,
    )


@pytest.fixture(autouse=True)
async def token(catalog: CatalogStore) -> Token:
    actor = await catalog.actors.create(Actor("Suzy"))
    return await catalog.tokens.create(Token("clip", (actor.id or 0,), "", "", 0, 10))


@pytest.fixture(autouse=True)
def pages_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_messages, "ENTRY_SECONDS", 3600.0)


async def listed(servicer: CatalogServicer, request: pb.ListTokensRequest = LIST) -> list[str]:
    """The names of the listed tokens."""
    response = await servicer.ListTokens(request, NO_CONTEXT)
    if isinstance(response, Serialized):
        response = pb.ListTokensResponse.FromString(response.content)
    return [token.name for token in response.tokens]


async def found(servicer: CatalogServicer) -> list[str]:
    """The names of the tokens that a search finds."""
    response = await servicer.SearchTokens(SEARCH, NO_CONTEXT)
    matches = pb.SearchTokensResponse.FromString(response.content).matches
    return [match.token.name for match in matches]


NO_CONTEXT: Any = None
Reading = Callable[[CatalogServicer], Awaitable[list[str]]]
READINGS: dict[str, Reading] = {"list": listed, "search": found}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
async def test_a_page_from_memory_reads_no_token(
    database: Database, servicer: CatalogServicer, reading: Reading
) -> None:
    assert await reading(servicer) == ["clip"]
    await wait_until_seen()
    for statement, _ in await statements_of(database, reading(servicer)):
        assert "catalog.tokens" not in statement


@pytest.mark.usefixtures("old_answers")
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
async def test_a_page_shows_a_change_of_another_replica(
    token: Token, servicer: CatalogServicer, database_url: str, reading: Reading
) -> None:
    assert await reading(servicer) == ["clip"]
    settings = DatabaseSettings(database_url=SecretStr(database_url))
    async with Database(settings, "test") as other:
        await CatalogStore(other).tokens.update(
            token.id or 0, "", lambda old: replace(old, name="new")
        )
    assert await reading(servicer) == ["new"]


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
async def test_a_page_shows_new_and_deleted_tokens(
    token: Token, catalog: CatalogStore, servicer: CatalogServicer, reading: Reading
) -> None:
    assert await reading(servicer) == ["clip"]
    second = await catalog.tokens.create(Token("second", token.actor_ids, "", "", 0, 10))
    assert sorted(await reading(servicer)) == ["clip", "second"]
    await catalog.tokens.delete(second.id or 0, "", force=False)
    assert await reading(servicer) == ["clip"]


async def test_a_search_shows_the_new_name_that_this_process_gave_an_actor(
    token: Token, catalog: CatalogStore, servicer: CatalogServicer
) -> None:
    assert await found(servicer) == ["clip"]
    await catalog.actors.update(token.actor_ids[0], "", lambda old: replace(old, name="IU"))
    assert await found(servicer) == []


async def test_a_page_is_used_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
    catalog: CatalogStore,
    database: Database,
    database_url: str,
) -> None:
    monkeypatch.setattr(page_messages, "ENTRY_SECONDS", 0.0)
    unused: Any = None
    watch = TokenWatch(catalog.changes, database, heartbeat_seconds=15)
    views, limit = ViewCounter(catalog.tokens, 3600), WatchLimit(per_client=0, total=0)
    servicer = CatalogServicer(catalog, unused, unused, views, watch, limit, 1024**2)
    assert await found(servicer) == ["clip"]
    await asyncio.to_thread(run, database_url, "UPDATE catalog.actors SET name = 'IU'")
    assert await found(servicer) == []


async def test_calls_for_the_same_page_share_one_read(
    database: Database, servicer: CatalogServicer
) -> None:
    # Shows that changes from now on will be seen.
    await listed(servicer)
    calls = asyncio.gather(*(found(servicer) for _ in range(20)))
    statements = await statements_of(database, calls)
    assert sum("catalog.tokens" in statement for statement, _ in statements) == 1


async def test_requests_do_not_share_a_page(
    token: Token, catalog: CatalogStore, servicer: CatalogServicer
) -> None:
    await catalog.tokens.create(Token("second", token.actor_ids, "music", "", 0, 10))
    assert await listed(servicer) == ["second", "clip"]
    assert await listed(servicer, pb.ListTokensRequest(category="music")) == ["second"]
    assert await listed(servicer, pb.ListTokensRequest(page_size=1)) == ["second"]
    assert await listed(servicer) == ["second", "clip"]


async def test_a_shuffled_list_without_a_seed_differs_each_time(
    database: Database, servicer: CatalogServicer
) -> None:
    request = pb.ListTokensRequest(order_by="shuffled", page_size=1)
    await listed(servicer, request)
    statements = await statements_of(database, listed(servicer, request))
    assert any("catalog.tokens" in statement for statement, _ in statements)
