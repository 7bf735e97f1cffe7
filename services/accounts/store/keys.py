"""Signing keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.tables import signing_keys
from services.runtime.database import Database, retried_on_schema_change

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('accounts.signing_keys'))")


@dataclass(frozen=True)
class StoredKey:
    """A signing key. sealed: the private key. public: its JWK."""

    kid: str
    sealed: bytes
    public: Mapping[str, object]
    activate_time: datetime


@retried_on_schema_change
class KeyStore:
    """Reads, creates and deletes signing keys, one process at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rotate(
        self,
        due_key: Callable[[Sequence[StoredKey], datetime], StoredKey | None],
        kept: Callable[[Sequence[StoredKey], datetime], Collection[str]],
    ) -> Sequence[StoredKey]:
        """Insert the key that is due, delete those that are not kept, and return the rest.

        due_key, kept: get the keys and PostgreSQL's time. `kept` returns the names of keys.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            # The time after the wait for the lock.
            now = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            keys = await _read(connection)
            new = due_key(keys, now)
            if new is not None:
                await _insert(connection, new)
                keys.append(new)
            wanted = kept(keys, now)
            ended = [key.kid for key in keys if key.kid not in wanted]
            if ended:
                await connection.execute(delete(signing_keys).where(signing_keys.c.kid.in_(ended)))
        return [key for key in keys if key.kid in wanted]

    async def delete_all(self) -> None:
        """Delete all keys at once."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            await connection.execute(delete(signing_keys))


async def _read(connection: AsyncConnection) -> list[StoredKey]:
    statement = select(
        signing_keys.c.kid,
        signing_keys.c.private_key,
        signing_keys.c.public_key,
        signing_keys.c.activate_time,
    ).order_by(signing_keys.c.activate_time, signing_keys.c.kid)
    return [StoredKey(*row) for row in await connection.execute(statement)]


async def _insert(connection: AsyncConnection, key: StoredKey) -> None:
    await connection.execute(
        insert(signing_keys).values(
            kid=key.kid,
            private_key=key.sealed,
            public_key=key.public,
            activate_time=key.activate_time,
        )
    )
