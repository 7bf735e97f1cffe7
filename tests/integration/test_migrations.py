"""Each service's migrations build its tables, and can be reverted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from services.registry import MIGRATED_SERVICES
from services.runtime.migrations import wait_until_migrated

SERVICES = Path(__file__).parents[2] / "services"


@pytest.fixture(params=MIGRATED_SERVICES)
def config(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Config:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Config(SERVICES / request.param / "alembic.ini")


def test_the_head_matches_the_tables(config: Config) -> None:
    command.check(config)


def test_every_migration_can_be_reverted_and_repeated(config: Config) -> None:
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    command.check(config)


def test_waiting_ends_when_the_schema_is_migrated(config: Config) -> None:
    command.downgrade(config, "-1")
    service = Path(str(config.config_file_name)).parent.name
    waiting = [sys.executable, "-m", "services.runtime.migrations", "--wait", service]
    with subprocess.Popen(waiting, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        command.upgrade(config, "head")
        assert process.wait() == 0


def test_a_schema_of_a_newer_release_is_accepted(config: Config, database_url: str) -> None:
    service = Path(str(config.config_file_name)).parent.name
    head = ScriptDirectory.from_config(config).get_current_head()
    asyncio.run(_set_revision(database_url, service, "9999_from_the_future"))
    asyncio.run(wait_until_migrated(service))
    asyncio.run(_set_revision(database_url, service, str(head)))


async def _set_revision(database_url: str, schema: str, revision: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"UPDATE {schema}.alembic_version SET version_num = $1", revision)
    await connection.close()
