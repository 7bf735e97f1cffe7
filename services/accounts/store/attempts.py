"""The SQL of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.attempts import KNOWN_FOR, Limit, Record, Scope, waits
from services.accounts.tables import attempts
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class AttemptStore:
    """Counts attempts, over all replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, limits: Sequence[Limit]) -> dict[Limit, timedelta]:
        """Count an attempt, unless a limit refuses it.

        Returns the limits that refuse it with the pauses that they demand; empty if it was
        counted.
        """
        async with self._database.transaction() as connection:
            records, now = await _locked(connection, limits)
            refusals = waits(limits, records, now)
            if not refusals:
                counted = {
                    limit: records[limit].with_attempt(limit.policy, now) for limit in limits
                }
                await connection.execute(_upsert(counted))
        return refusals

    async def succeed(self, limits: Sequence[Limit]) -> None:
        """Record that an attempt succeeded, as `Scope` describes."""
        pairs = [limit.key for limit in limits if limit.scope is Scope.PAIR]
        shared = [limit.key for limit in limits if limit.scope is Scope.ADDRESS]
        is_pair = attempts.c.key.in_(pairs)
        fewer = func.greatest(attempts.c.count - 1, 0)
        await self._update(
            limits,
            count=case((attempts.c.key.in_(shared), fewer), else_=0),
            is_known=attempts.c.is_known | is_pair,
            expire_time=case((is_pair, func.now() + KNOWN_FOR), else_=attempts.c.expire_time),
        )

    async def forget(self, limits: Sequence[Limit]) -> None:
        """Clear the counts of accounts. Those of network addresses stay."""
        await self._update([limit for limit in limits if limit.scope is not Scope.ADDRESS], count=0)

    async def _update(self, limits: Sequence[Limit], **values: Any) -> None:
        # All statements lock the keys in the same order, so they can't deadlock.
        locked = (
            select(attempts.c.key)
            .where(attempts.c.key.in_([limit.key for limit in limits]))
            .order_by(attempts.c.key)
            .with_for_update()
            .cte("locked")
        )
        statement = update(attempts).where(attempts.c.key == locked.c.key).values(values)
        async with self._database.transaction() as connection:
            await connection.execute(statement)


async def _locked(
    connection: AsyncConnection, limits: Sequence[Limit]
) -> tuple[dict[Limit, Record], datetime]:
    """Lock the records of all limits and return them, with the time; new ones are created."""
    by_key = {limit.key: limit for limit in limits}
    insertion = postgresql.insert(attempts).values(
        [
            {"key": key, "count": 0, "expire_time": func.now() + by_key[key].policy.recovery}
            for key in sorted(by_key)
        ]
    )
    statement = insertion.on_conflict_do_update(
        index_elements=[attempts.c.key], set_={"key": insertion.excluded.key}
    ).returning(
        attempts.c.key,
        attempts.c.count.label("attempts"),
        attempts.c.time,
        attempts.c.is_known,
        func.clock_timestamp().label("now"),
    )
    rows = (await connection.execute(statement)).all()
    records = {by_key[row.key]: Record(row.attempts, row.time, row.is_known) for row in rows}
    return records, max(row.now for row in rows)


def _upsert(records: dict[Limit, Record]) -> Any:
    """The statement that stores records; their rows exist and are locked."""
    insertion = postgresql.insert(attempts).values(
        [
            {
                "key": limit.key,
                "count": record.count,
                "time": record.time,
                "is_known": record.is_known,
                "expire_time": record.expire_time(limit.policy),
            }
            for limit, record in records.items()
        ]
    )
    excluded = insertion.excluded
    return insertion.on_conflict_do_update(
        index_elements=[attempts.c.key],
        set_={
            "count": excluded.count,
            "time": excluded.time,
            "expire_time": excluded.expire_time,
        },
    )
