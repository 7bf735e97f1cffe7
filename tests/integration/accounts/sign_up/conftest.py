"""A running accounts service, and an empty schema after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration import sql
from tests.integration.accounts.sign_up.service import Service, running


@pytest.fixture(autouse=True)
def empty_schema(database_url: str) -> Iterator[None]:
    yield
    sql.run(
        database_url,
        "TRUNCATE accounts.accounts, accounts.attempts, accounts.mails, accounts.audit CASCADE",
    )


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with running(database_url, tmp_path) as service:
        yield service
