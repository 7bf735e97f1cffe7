"""A real PostgreSQL with the current schema of every service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.catalog.store import CatalogStore
from services.runtime.database import Database
from services.runtime.settings import DatabaseSettings
from stack.stack import Stack
from tests.databases import WITHOUT, copy_database


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("data")
    copy_database(folder)
    with Stack.on_free_ports(folder, without=WITHOUT, seeded=False) as stack:
        yield stack.database_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    settings = DatabaseSettings(database_url=SecretStr(database_url))
    async with Database(settings, "test") as database:
        yield database


@pytest.fixture
async def catalog(database: Database) -> AsyncIterator[CatalogStore]:
    yield CatalogStore(database)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "TRUNCATE catalog.actors, catalog.tokens, catalog.requests, catalog.token_changes"
                " RESTART IDENTITY CASCADE"
            )
        )
