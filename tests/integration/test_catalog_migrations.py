"""A catalog that is full goes forward to the head, with all it holds, while it is written to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from tests.integration.sql import row, run

SERVICE = Path(__file__).parents[2] / "services" / "catalog"

FULL = """
INSERT INTO catalog.actors (name) VALUES ('수지');
INSERT INTO catalog.tokens (name, category, source_url, start_time, end_time)
SELECT 'token ' || number, '', '', 0, 5 FROM generate_series(1, 12345) AS number;
INSERT INTO catalog.token_actors (token_id, position, actor_id)
SELECT tokens.id, 0, actors.id FROM catalog.tokens, catalog.actors;
INSERT INTO catalog.scripts (token_id, text, translation, language_code, start_time, end_time)
SELECT id, '안녕', '', '', 0, 1 FROM catalog.tokens;
"""
EMPTY = "TRUNCATE catalog.actors, catalog.tokens, catalog.token_changes RESTART IDENTITY CASCADE"

COUNTS = """
SELECT
    (SELECT count(*) FROM catalog.token_changes) AS told,
    (SELECT count(*) FROM catalog.scripts) AS scripts,
    (SELECT view_count FROM catalog.tokens WHERE name = 'token 7') AS views,
    (SELECT count(*) FROM pg_constraint WHERE NOT convalidated) AS unchecked
"""


@pytest.fixture
def config(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Config(SERVICE / "alembic.ini")


async def write_until(database_url: str, done: asyncio.Event) -> None:
    """Change a token all the time."""
    connection = await asyncpg.connect(database_url)
    while not done.is_set():
        await connection.execute(
            "UPDATE catalog.tokens SET view_count = view_count + 1 WHERE name = 'token 7'"
        )
        await asyncio.sleep(0.001)
    await connection.close()


def test_nothing_is_lost_on_the_way_and_watchers_know_every_token(
    config: Config, database_url: str
) -> None:
    command.downgrade(config, "0002")
    run(database_url, FULL)

    async def migrated() -> None:
        done = asyncio.Event()
        writing = asyncio.create_task(write_until(database_url, done))
        await asyncio.to_thread(command.upgrade, config, "head")
        done.set()
        await writing

    asyncio.run(migrated())
    command.check(config)
    counts = row(database_url, COUNTS)
    assert counts.pop("views") > 0
    assert counts == {"told": 12345, "scripts": 12345, "unchecked": 0}
    run(database_url, EMPTY)


def test_a_migration_that_was_interrupted_is_run_again(config: Config, database_url: str) -> None:
    command.downgrade(config, "0003")
    # What a build of an index leaves when it is cancelled.
    run(database_url, "CREATE INDEX ix_tokens_view_count ON catalog.tokens (name)")
    command.upgrade(config, "head")
    command.check(config)
