"""Gets, lists and searches read indexes, however much the catalog holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.catalog.resources import TokenFilter
from services.catalog.store import CatalogStore, Ring
from services.runtime.database import Database

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


def run(database_url: str, statements: str) -> None:
    async def executed() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(statements)
        await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, executed()).result()


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
    "search actors by a letter": lambda catalog: catalog.search.actors("z", 20),
    "search tokens": lambda catalog: catalog.search.tokens("a87ff679", 20),
    "search tokens by initials": lambda catalog: catalog.search.tokens("ㅅㅈ", 20),
    "search tokens by signs": lambda catalog: catalog.search.tokens("👩‍🎤", 20),
}

BIG_TABLES = ("actors", "tokens", "token_actors", "scripts")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_no_big_table_is_read_whole(
    catalog: CatalogStore,
    database: Database,
    call: Callable[[CatalogStore], Awaitable[object]],
) -> None:
    plans = await plans_of(database, call(catalog))
    assert plans
    for plan in plans:
        assert not any(f"Seq Scan on {table}" in plan for table in BIG_TABLES), plan
        # A sort would mean that the whole list is read for each page of it.
        assert "Sort Method: external" not in plan, plan


async def test_the_last_page_costs_what_the_first_costs(
    catalog: CatalogStore, database: Database
) -> None:
    first = await buffers(database, catalog.pages.latest(TokenFilter(), 50, LAST))
    last = await buffers(database, catalog.pages.latest(TokenFilter(), 50, 100))
    assert last < 2 * first


async def test_a_full_token_takes_the_same_statements_however_many_scripts(
    catalog: CatalogStore, database: Database
) -> None:
    statements = await statements_of(database, catalog.tokens.get_with_scripts(7))
    assert len(statements) == 4


async def statements_of(database: Database, call: Awaitable[object]) -> list[tuple[str, Any]]:
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    engine: AsyncEngine = database._engine
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        await call
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
    return statements


async def plans_of(database: Database, call: Awaitable[object]) -> list[str]:
    """The plans of all statements on tables of the catalog that a call runs."""
    found = []
    statements = await statements_of(database, call)
    async with database.transaction() as connection:
        for statement, parameters in statements:
            if "set_config" in statement:
                await connection.exec_driver_sql(statement, parameters)
            elif "catalog." in statement:
                explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING off) {statement}"
                answer = await connection.exec_driver_sql(explain, parameters)
                found.append("\n".join(row[0] for row in answer))
    return found


async def buffers(database: Database, call: Awaitable[object]) -> int:
    """Pages that the statements of a call read."""
    total = 0
    for plan in await plans_of(database, call):
        line = next(line for line in plan.splitlines() if "Buffers:" in line)
        counts = line.split("shared ")[1].split()
        total += sum(int(count.split("=")[1]) for count in counts if "=" in count)
    return total
