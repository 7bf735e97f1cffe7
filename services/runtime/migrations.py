"""Migrations: each service owns a schema of PostgreSQL and an Alembic history of its own.

`python -m services.runtime.migrations [SERVICE ...]` migrates the schemas to their heads.
With `--wait` it waits until another process has migrated them. In a service's folder,
`alembic upgrade head` migrates only that service.
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
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from services.registry import MIGRATED_SERVICES
from services.runtime.database import create_engine
from services.runtime.revisions import older_revisions
from services.runtime.schema import reason_to_wait
from services.runtime.settings import DatabaseSettings

LOCK_POLL_SECONDS = 0.2
WAIT_POLL_SECONDS = 0.5


def alembic_config(service: str) -> Config:
    """The Alembic configuration of a service."""
    return Config(Path(__file__).parents[1] / service / "alembic.ini")


def migrate(service: str) -> None:
    """Migrate a service's schema to its head."""
    command.upgrade(alembic_config(service), "head")
    print(f"{service}: the schema is at its head")


async def wait_until_migrated(service: str) -> None:
    """Return when a service's schema is at the head that this code needs, or newer."""
    older = older_revisions(service)
    printed = ""
    while reason := await _reason_to_wait(service, older):
        if reason != printed:
            print(f"{service}: waiting, {reason}", flush=True)
            printed = reason
        await asyncio.sleep(WAIT_POLL_SECONDS)
    print(f"{service}: the schema is ready")


async def _reason_to_wait(service: str, older: Collection[str]) -> str:
    """Why the schema can't be used yet; empty if it can."""
    try:
        async with _connection() as connection:
            return await reason_to_wait(connection, service, older)
    except (OSError, DBAPIError, asyncpg.PostgresError):
        return "PostgreSQL does not respond"


def run_migrations(metadata: MetaData) -> None:
    """Migrate the schema that `metadata` names; `migrations/env.py` calls this."""
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
    """Wait until no other process migrates the schema.

    The lock ends with the connection. It is polled, because a statement that waits for it
    would block concurrent builds of indexes.
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
        # Each migration is one transaction, so that a long one needs no long lock.
        transaction_per_migration=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Migrate or wait, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m services.runtime.migrations")
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help=f"any of {', '.join(MIGRATED_SERVICES)}; default: all",
    )
    parser.add_argument(
        "--wait", action="store_true", help="only wait until another process has migrated"
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
