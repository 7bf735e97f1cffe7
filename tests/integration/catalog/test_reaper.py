"""The reaper deletes expired request ids and token deletions, and keeps the others."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import text

from services.catalog.models import Actor, Token
from services.catalog.store import CatalogStore, CreateOptions
from services.runtime.database import Database


async def age(database: Database, table: str, column: str, interval: str) -> None:
    """Move the times of all rows into the past."""
    async with database.transaction() as connection:
        await connection.execute(
            text(f"UPDATE catalog.{table} SET {column} = {column} - interval '{interval}'")
        )


async def count(database: Database, table: str) -> int:
    async with database.transaction() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM catalog.{table}")) or 0)


async def test_request_ids_are_deleted_after_a_day(
    catalog: CatalogStore, database: Database
) -> None:
    await catalog.actors.create(Actor("old"), CreateOptions(uuid4(), b"content"))
    await age(database, "requests", "create_time", "25 hours")
    await catalog.actors.create(Actor("new"), CreateOptions(uuid4(), b"content"))
    await catalog.changes.delete_expired()
    assert await count(database, "requests") == 1


async def test_deletions_are_deleted_once_no_cursor_is_older(
    catalog: CatalogStore, database: Database
) -> None:
    actor = await catalog.actors.create(Actor("a"))
    token = Token("clip", (actor.id or 0,), "", "", 0, 10)
    existing, old, new = [(await catalog.tokens.create(token)).id or 0 for _ in range(3)]
    await catalog.tokens.delete(old, "", force=False)
    await age(database, "token_changes", "change_time", "9 days")
    await catalog.tokens.delete(new, "", force=False)
    await catalog.changes.delete_expired()
    async with database.transaction() as connection:
        remaining = await connection.scalars(text("SELECT token_id FROM catalog.token_changes"))
        assert set(remaining) == {existing, new}
