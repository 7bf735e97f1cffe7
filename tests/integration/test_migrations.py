"""Each service's migrations build what its tables say, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from services.runtime.migrations import MIGRATED_SERVICES

SERVICES = Path(__file__).parents[2] / "services"


@pytest.fixture(params=MIGRATED_SERVICES)
def config(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Config:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Config(SERVICES / request.param / "alembic.ini")


def test_the_head_is_what_the_tables_say(config: Config) -> None:
    command.check(config)


def test_every_migration_can_be_taken_back_and_made_again(config: Config) -> None:
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    command.check(config)
