"""Stores keep working when a migration changes the type of a column under running services."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import uuid4

import pytest

import services.analysis.store
import services.catalog.store
import services.upload.store
from services.analysis.store import JobQueue, JobStore
from services.catalog.import_records import ActorRecord
from services.catalog.models import Actor, TokenFilter
from services.catalog.store import CatalogStore
from services.runtime.database import Database
from services.upload.errors import UploadNotFound
from services.upload.store import UploadStore
from tests.integration.sql import run

CONNECTIONS = 4
LONG = timedelta(days=1)

IMPORTED = ActorRecord(1, Actor("imported"))

Call = Callable[[Database], Awaitable[object]]


@asynccontextmanager
async def changed_type(database_url: str, table: str, column: str) -> AsyncIterator[None]:
    """The column has the type varchar instead of text until the context ends."""
    change = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE "
    await asyncio.to_thread(run, database_url, change + "varchar(500)")
    try:
        yield
    finally:
        await asyncio.to_thread(run, database_url, change + "text")


async def unknown_upload(store: UploadStore) -> None:
    with suppress(UploadNotFound):
        await store.get(uuid4())


async def on_every_connection(call: Call, database: Database) -> None:
    """Call several times at once, often enough that every connection prepares the statement."""
    for _ in range(5):
        await asyncio.gather(*(call(database) for _ in range(CONNECTIONS)))


@pytest.mark.parametrize(
    ("table", "column", "call"),
    [
        pytest.param(
            "catalog.tokens",
            "category",
            lambda database: CatalogStore(database).tokens.get_existing([1]),
            id="tokens",
        ),
        pytest.param(
            "catalog.tokens",
            "category",
            lambda database: CatalogStore(database).pages.latest(TokenFilter(), 2, 9),
            id="pages of tokens",
        ),
        pytest.param(
            "catalog.actors",
            "name",
            lambda database: CatalogStore(database).actors.page(2, 0),
            id="actors",
        ),
        pytest.param(
            "catalog.actors",
            "name",
            lambda database: CatalogStore(database).actors.create(Actor(f"actor {uuid4()}")),
            id="a write",
        ),
        pytest.param(
            "analysis.jobs",
            "stage",
            lambda database: JobStore(database).get_many([uuid4()]),
            id="jobs",
        ),
        pytest.param(
            "analysis.jobs",
            "status_url",
            lambda database: JobQueue(database).claim_due(1, 1, "worker", LONG),
            id="queue",
        ),
        pytest.param(
            "upload.uploads",
            "content_type",
            lambda database: unknown_upload(UploadStore(database)),
            id="uploads",
        ),
        pytest.param(
            "catalog.actors",
            "name",
            lambda database: CatalogStore(database).imports.write([IMPORTED]),
            id="imports",
        ),
    ],
)
@pytest.mark.usefixtures("catalog")  # It deletes the actors.
async def test_a_call_succeeds_after_a_column_changed_its_type(
    database: Database, database_url: str, table: str, column: str, call: Call
) -> None:
    await on_every_connection(call, database)
    async with changed_type(database_url, table, column):
        await on_every_connection(call, database)


def stores() -> list[type]:
    """The classes of the stores that use a database."""
    packages = [services.analysis.store, services.catalog.store, services.upload.store]
    names = [
        each.name
        for package in packages
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    modules = [importlib.import_module(name) for name in names]
    return [
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each)
        and each.__module__ == module.__name__
        and "database" in inspect.signature(each).parameters
    ]


@pytest.mark.parametrize("store", stores(), ids=lambda store: store.__name__)
def test_every_store_calls_again_after_a_change(store: type) -> None:
    calls = [
        method
        for name, method in vars(store).items()
        if inspect.iscoroutinefunction(method) and not name.startswith("_")
    ]
    assert all(hasattr(method, "__wrapped__") for method in calls)
