"""The job queue: due jobs, their claims, and the writes that settle a claim.

The job's row is the work item. A claim is a lease with a new token each time. Every
later write names the token and the number of the dispatch, so that a worker that paused
for longer than its lease changes nothing (fencing).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select

from services.analysis.jobs import Claim, State
from services.analysis.store.claims import (
    CLAIM,
    EXTEND,
    SET_TOKEN_REVISION,
    TIME_OUT,
    arrays_of,
    claim_of,
)
from services.analysis.store.settlements import (
    SETTLE,
    Settlement,
    parameters_of,
)
from services.analysis.store.transitions import OnTransition
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class JobQueue:
    """Claims due jobs and settles claims, each call in one statement."""

    def __init__(self, database: Database, on_transition: OnTransition = lambda *_: None) -> None:
        self._database = database
        self._on_transition = on_transition

    async def claim_due(
        self, dispatches: int, limit: int, worker: str, lease: timedelta
    ) -> tuple[list[Claim], float | None]:
        """Claim up to `limit` due jobs, up to `dispatches` of them queued.

        Queued jobs go before dispatched ones, in the order of their turns; of dispatched ones
        the longest due go first. A claim of a queued job starts a dispatch. If the job's last
        lease expired during a dispatch, the history gets a "lost" entry.
        Queued jobs whose deadline has passed are left to `time_out`. worker: host:pid.

        Returns the claims, and the seconds until the next queued or dispatched job is due
        that is not due yet, more than 0; None when there is no such job.
        """
        numbers = {"dispatches": dispatches, "limit": limit}
        async with self._database.connection() as connection:
            rows = await CLAIM.rows(connection, **numbers, worker=worker, lease=lease)
        claims = [claim_of(row) for row in rows if row["job_id"] is not None]
        seconds = rows[0]["seconds"]
        return claims, None if seconds is None else float(seconds)

    async def due(self) -> tuple[int, float]:
        """The number of unclaimed jobs due for dispatch, and for how many seconds the oldest is."""
        waiting = select(
            func.count(),
            func.coalesce(func.extract("epoch", func.now() - func.min(jobs.c.due_time)), 0),
        ).where(jobs.c.state == State.QUEUED, jobs.c.due_time <= func.now())
        async with self._database.transaction() as connection:
            row = (await connection.execute(waiting)).one()
        return int(row[0]), float(row[1])

    async def extend_leases(self, claims: Sequence[Claim], lease: timedelta) -> list[bool]:
        """Hold claims of different jobs for the length of `lease` from now.

        Returns for each in the same order whether it is still held.
        """
        async with self._database.connection() as connection:
            rows = await EXTEND.rows(connection, **arrays_of(claims), lease=lease)
        held = {row["job_id"] for row in rows}
        return [claim.job_id in held for claim in claims]

    async def set_token_revision(self, claim: Claim, token_revision: int) -> None:
        """Store the revision of the token that the dispatch contains."""
        parameters = arrays_of([claim]) | {"token_revision": token_revision}
        async with self._database.connection() as connection:
            await SET_TOKEN_REVISION.rows(connection, **parameters)

    async def settle_many(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Settle claims of different jobs, each of its kind, in one statement.

        Returns for each in the same order whether its claim was held; if not, nothing of it is
        written. Of a job that has ended meanwhile, only the history grows. Errors: an unexpected
        one, such as a value that PostgreSQL refuses, concerns all: then nothing is written,
        and the caller may settle them one by one.
        """
        async with self._database.connection() as connection:
            rows = await SETTLE.rows(connection, **parameters_of(settlements))
        for row in rows:
            if row["after"] is not None:
                self._on_transition(row["job_id"], State(row["after"]))
        held = {row["job_id"] for row in rows}
        return [settlement.claim.job_id in held for settlement in settlements]

    async def time_out(self, limit: int) -> int:
        """Fail up to `limit` jobs whose upload or dispatch is overdue; returns how many."""
        async with self._database.connection() as connection:
            rows = await TIME_OUT.rows(connection, limit=limit)
        for row in rows:
            self._on_transition(row["job_id"], State.FAILED)
        return len(rows)
