"""Gets, lists and searches use indexes, however large the catalog is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest

from services.catalog.models import TokenFilter
from services.catalog.store import CatalogStore, Ring
from services.runtime.database import Database
from tests.integration.plans import MEASURED, buffers, plans_of, statements_of
from tests.integration.sql import run

LAST = 2**31 - 1

FULL = """
TRUNCATE catalog.actors, catalog.tokens, catalog.token_changes RESTART IDENTITY CASCADE;
DROP INDEX catalog.ix_scripts_fold, catalog.ix_tokens_search_key;
INSERT INTO catalog.actors (name)
SELECT 'actor ' || md5(number::text) FROM generate_series(1, 5000) AS number;
INSERT INTO catalog.tokens (name, category, source_url, start_time, end_time, view_count)
SELECT md5(number::text), 'category ' || number % 20, '', 0, 5 + number % 500, number % 1000
FROM generate_series(1, 50000) AS number;
INSERT INTO catalog.token_actors (token_id, position, actor_id)
SELECT number, 0, number % 5000 + 1 FROM generate_series(1, 50000) AS number;
INSERT INTO catalog.scripts (token_id, text, translation, language_code, start_time, end_time)
SELECT number % 50000 + 1, md5((number / 2)::text), '', '', number % 4, number % 4 + 1
FROM generate_series(1, 200000) AS number;
CREATE INDEX ix_scripts_fold ON catalog.scripts USING gin (catalog.fold(text) gin_trgm_ops);
CREATE INDEX ix_tokens_search_key
    ON catalog.tokens USING gin (catalog.search_key(name) gin_trgm_ops);
ANALYZE catalog.actors, catalog.tokens, catalog.token_actors, catalog.scripts, catalog.words,
    catalog.actor_aliases
"""
EMPTY = "TRUNCATE catalog.actors, catalog.tokens, catalog.token_changes RESTART IDENTITY CASCADE"


@pytest.fixture(scope="module")
def full(database_url: str) -> Iterator[None]:
    run(database_url, FULL)
    yield
    run(database_url, EMPTY)


@pytest.fixture
def catalog(database: Database, full: None) -> CatalogStore:
    return CatalogStore(database)


Calls = dict[str, Callable[[CatalogStore], Awaitable[object]]]

CALLS: Calls = {
    "get an actor": lambda catalog: catalog.actors.get(7),
    "get a token with its scripts": lambda catalog: catalog.tokens.get_with_scripts(7),
    "get some tokens": lambda catalog: catalog.tokens.get_many([7, 8, 9]),
    "get a script": lambda catalog: catalog.scripts.get(7),
    "list actors": lambda catalog: catalog.actors.page(50, 2500),
    "list scripts": lambda catalog: catalog.scripts.page(50, 100_000),
    "list scripts of a token": lambda catalog: catalog.scripts.page_of_token(7, 50, (0.5, 7)),
    "latest": lambda catalog: catalog.pages.latest(TokenFilter(), 50, 25_000),
    "latest of a category": lambda catalog: catalog.pages.latest(
        TokenFilter(category="category 3"), 50, 25_000
    ),
    "latest of an actor": lambda catalog: catalog.pages.latest(TokenFilter(actor_id=7), 50, LAST),
    "latest of a length": lambda catalog: catalog.pages.latest(
        TokenFilter(max_duration=60), 50, 25_000
    ),
    "latest by text": lambda catalog: catalog.pages.latest(TokenFilter(text="a1b2c3"), 50, 25_000),
    "popular": lambda catalog: catalog.pages.popular(TokenFilter(), 50, (500, LAST)),
    "popular of a category": lambda catalog: catalog.pages.popular(
        TokenFilter(category="category 3"), 50, (500, LAST)
    ),
    "shuffled": lambda catalog: catalog.pages.shuffled(TokenFilter(), 50, Ring.begin(5)),
    "shuffled of a category": lambda catalog: catalog.pages.shuffled(
        TokenFilter(category="category 3"), 50, Ring.begin(5)
    ),
    "related": lambda catalog: catalog.pages.related(7, 50, (LAST, LAST)),
    "search actors": lambda catalog: catalog.search.actors("a87ff679", 20),
    "search actors by initials": lambda catalog: catalog.search.actors("ㅅㅈ", 20),
    "search actors by joined initials": lambda catalog: catalog.search.actors("ㄳㅎ", 20),
    "search actors by a letter": lambda catalog: catalog.search.actors("z", 20),
    "search tokens": lambda catalog: catalog.search.tokens("a87ff679", 20),
    "search tokens by initials": lambda catalog: catalog.search.tokens("ㅅㅈ", 20),
    "search tokens by joined initials": lambda catalog: catalog.search.tokens("ㄳ", 20),
    "search tokens by signs": lambda catalog: catalog.search.tokens("👩‍🎤", 20),
}

LARGE_TABLES = ("actors", "tokens", "token_actors", "scripts")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_no_large_table_is_scanned_sequentially(
    catalog: CatalogStore,
    database: Database,
    call: Callable[[CatalogStore], Awaitable[object]],
) -> None:
    for plan in await plans_of(database, call(catalog), "catalog.", MEASURED):
        assert not any(f"Seq Scan on {table}" in plan for table in LARGE_TABLES), plan
        # An external sort would mean that each page reads the entire list.
        assert "Sort Method: external" not in plan, plan


async def test_the_last_page_reads_no_more_than_the_first(
    catalog: CatalogStore, database: Database
) -> None:
    first = await buffers(database, catalog.pages.latest(TokenFilter(), 50, LAST), "catalog.")
    last = await buffers(database, catalog.pages.latest(TokenFilter(), 50, 100), "catalog.")
    assert last < 2 * first


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_read_takes_one_round_trip(
    catalog: CatalogStore,
    database: Database,
    call: Callable[[CatalogStore], Awaitable[object]],
) -> None:
    # asyncpg reads the types of arrays once on each connection.
    await call(catalog)
    assert len(await statements_of(database, call(catalog))) == 1
