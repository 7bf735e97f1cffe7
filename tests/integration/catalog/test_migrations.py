"""Migrations keep the data of a full catalog while clients write to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from tests.integration.sql import row, run

SERVICE = Path(__file__).parents[3] / "services" / "catalog"

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
    (SELECT count(*) FROM catalog.token_changes) AS changes,
    (SELECT count(*) FROM catalog.scripts) AS scripts,
    (SELECT view_count FROM catalog.tokens WHERE name = 'token 7') AS views,
    (SELECT count(*) FROM pg_constraint WHERE NOT convalidated) AS unvalidated
"""


@pytest.fixture
def config(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Config(SERVICE / "alembic.ini")


async def keep_writing(database_url: str, started: asyncio.Event, done: asyncio.Event) -> None:
    """Update a token repeatedly until `done` is set."""
    connection = await asyncpg.connect(database_url)
    while not done.is_set():
        await connection.execute(
            "UPDATE catalog.tokens SET view_count = view_count + 1 WHERE name = 'token 7'"
        )
        started.set()
    await connection.close()


def test_an_upgrade_keeps_all_data_and_records_every_token_for_watchers(
    config: Config, database_url: str
) -> None:
    command.downgrade(config, "0002")
    run(database_url, FULL)

    async def upgrade_while_writing() -> None:
        started, done = asyncio.Event(), asyncio.Event()
        writer = asyncio.create_task(keep_writing(database_url, started, done))
        await started.wait()
        await asyncio.to_thread(command.upgrade, config, "head")
        done.set()
        await writer

    asyncio.run(upgrade_while_writing())
    command.check(config)
    counts = row(database_url, COUNTS)
    assert counts.pop("views") > 0
    assert counts == {"changes": 12345, "scripts": 12345, "unvalidated": 0}
    run(database_url, EMPTY)


def test_an_interrupted_migration_can_run_again(config: Config, database_url: str) -> None:
    command.downgrade(config, "0003")
    # A cancelled build leaves an index of the same name.
    run(database_url, "CREATE INDEX ix_tokens_view_count ON catalog.tokens (name)")
    command.upgrade(config, "head")
    command.check(config)
