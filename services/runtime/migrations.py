"""Migrations: each service owns a schema of PostgreSQL and its own Alembic history.

`python -m services.runtime.migrations [SERVICE ...]` brings the schemas to their heads,
and with `--wait` waits until somebody else has. In a service's folder, `alembic
upgrade head` does the same for that service alone.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from services.runtime.database import create_engine
from services.runtime.settings import DatabaseSettings

MIGRATED_SERVICES = ("catalog", "upload", "analysis")
LOCK_POLL_SECONDS = 0.2
WAIT_POLL_SECONDS = 0.5


def migrate(service: str) -> None:
    """Bring a service's schema to its head."""
    command.upgrade(_config(service), "head")
    print(f"{service}: the schema is at its head")


async def wait_until_migrated(service: str) -> None:
    """Return when a service's schema is as this code needs it, or newer."""
    scripts = ScriptDirectory.from_config(_config(service))
    older = {each.revision for each in scripts.walk_revisions()} - {scripts.get_current_head()}
    told = ""
    while reason := await _reason_to_wait(service, older):
        if reason != told:
            print(f"{service}: waiting, {reason}", flush=True)
            told = reason
        await asyncio.sleep(WAIT_POLL_SECONDS)
    print(f"{service}: the schema is ready")


async def _reason_to_wait(service: str, older: Collection[str]) -> str:
    """Why the schema can't be used yet; empty when it can. What is unknown is newer."""
    try:
        revision = await _revision(service)
    except (OSError, DBAPIError, asyncpg.PostgresError):
        return "PostgreSQL does not answer"
    if revision is None:
        return "there is no schema yet"
    return f"the schema is at revision {revision}" if revision in older else ""


async def _revision(service: str) -> str | None:
    async with _connection() as connection:
        table = f"{service}.alembic_version"
        if not await connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}):
            return None
        revision: str | None = await connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608
        return revision


def _config(service: str) -> Config:
    return Config(Path(__file__).parents[1] / service / "alembic.ini")


def run_migrations(metadata: MetaData) -> None:
    """Run the migrations of the schema that `metadata` names; for `migrations/env.py`."""
    asyncio.run(_run_online(metadata))


async def _run_online(metadata: MetaData) -> None:
    async with _connection() as connection:
        await _lock(connection, str(metadata.schema))
        await connection.run_sync(_run, metadata)
        await connection.commit()


@asynccontextmanager
async def _connection() -> AsyncIterator[AsyncConnection]:
    engine = create_engine(DatabaseSettings.read(), "migrations", poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def _lock(connection: AsyncConnection, schema: str) -> None:
    """Wait until nobody else migrates: replicas may start at once.

    The lock is the connection's and ends with it. It is asked for again and again,
    because a statement that waits would hold back concurrent builds of indexes.
    """
    statement = text("SELECT pg_try_advisory_lock(hashtext(:schema))")
    while not await connection.scalar(statement, {"schema": schema}):
        await connection.commit()
        await asyncio.sleep(LOCK_POLL_SECONDS)
    await connection.commit()


def _run(connection: Connection, metadata: MetaData) -> None:
    schema = metadata.schema
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        include_schemas=True,
        # Each migration commits by itself, so that a long one can do without locks.
        transaction_per_migration=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Migrate, or wait."""
    parser = argparse.ArgumentParser(prog="python -m services.runtime.migrations")
    parser.add_argument(
        "services", nargs="*", metavar="SERVICE", help="catalog, upload or analysis; default: all"
    )
    parser.add_argument(
        "--wait", action="store_true", help="only wait until the schemas are ready to be used"
    )
    arguments = parser.parse_args()
    services = arguments.services or MIGRATED_SERVICES
    if unknown := set(services) - set(MIGRATED_SERVICES):
        parser.error(f"no such service: {', '.join(sorted(unknown))}")
    for service in services:
        if arguments.wait:
            asyncio.run(wait_until_migrated(service))
        else:
            migrate(service)


if __name__ == "__main__":
    main()
