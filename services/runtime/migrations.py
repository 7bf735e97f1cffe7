"""Migrations: each service owns a schema of PostgreSQL and its own Alembic history.

`python -m services.runtime.migrations` brings every schema to its head. In a
service's folder, `alembic upgrade head` does the same for that service alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from services.runtime.settings import DatabaseSettings

MIGRATED_SERVICES = ("catalog", "upload", "analysis")
LOCK_POLL_SECONDS = 0.2


def migrate_all() -> None:
    """Bring every service's schema to its head."""
    for service in MIGRATED_SERVICES:
        folder = Path(__file__).parents[1] / service
        config = Config(folder / "alembic.ini")
        command.upgrade(config, "head")
        print(f"{service}: schema is at its head")


def run_migrations(metadata: MetaData) -> None:
    """Run the migrations of the schema that `metadata` names; for `migrations/env.py`."""
    asyncio.run(_run_online(metadata))


async def _run_online(metadata: MetaData) -> None:
    url = make_url(DatabaseSettings.read().database_url.get_secret_value())
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        await _lock(connection, str(metadata.schema))
        await connection.run_sync(_run, metadata)
        await connection.commit()
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


if __name__ == "__main__":
    migrate_all()
