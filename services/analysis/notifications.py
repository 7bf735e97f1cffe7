"""Notifications of changed jobs, from each process to all, by LISTEN and NOTIFY.

A NOTIFY takes a lock that all committing transactions with one wait for, so it is
kept out of the transactions that change jobs: what has changed is gathered and
told a moment later, many jobs at once, in a transaction that writes nothing. A
process that dies in between tells nothing: those who listen look for themselves
every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import UUID

from sqlalchemy import func, select

from services.analysis.jobs import State
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable

CHANNEL = "analysis_jobs_changed"
RETRY_SECONDS = 0.5
JOBS_PER_NOTICE = 100
"""A payload is at most 8,000 bytes; a job takes 48."""

OnChange = Callable[[UUID, State], None]
OnGap = Callable[[], None]


class JobNotifications:
    """The one LISTEN of a process, and its NOTIFYs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: list[tuple[OnChange, OnGap]] = []
        self._untold: dict[UUID, State] = {}
        self._has_untold = asyncio.Event()

    def follow(self, changed: OnChange, missed: OnGap) -> None:
        """Be told of every job that changes, in this process or another.

        missed: called when changes may have been missed, also once at the start.
        """
        self._followers.append((changed, missed))

    def tell(self, job_id: UUID, state: State) -> None:
        """Tell all processes that a job has changed, soon."""
        self._untold[job_id] = state
        self._has_untold.set()

    async def run(self) -> None:
        """Listen and tell for ever; when cancelled, tell what is left."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._tell())
        finally:
            with suppress(DatabaseUnavailable):
                await self._tell_once()

    async def _tell(self) -> None:
        while True:
            await self._has_untold.wait()
            self._has_untold.clear()
            try:
                await self._tell_once()
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                self._has_untold.set()

    async def _tell_once(self) -> None:
        untold, self._untold = self._untold, {}
        if not untold:
            return
        try:
            async with self._database.transaction() as connection:
                for payload in _payloads(untold):
                    await connection.execute(select(func.pg_notify(CHANNEL, payload)))
        except BaseException:
            self._untold = untold | self._untold
            raise

    async def _listen(self) -> None:
        await self._database.listen(CHANNEL, self._heard, self._missed)

    def _heard(self, payload: str) -> None:
        for line in payload.splitlines():
            state, _, job_id = line.partition(" ")
            for changed, _ in self._followers:
                changed(UUID(job_id), State(state))

    def _missed(self) -> None:
        # At first what changed while nobody listened, then what was changed by a
        # process that died before it told.
        for _, missed in self._followers:
            missed()


def _payloads(changes: dict[UUID, State]) -> Iterator[str]:
    for start in range(0, len(changes), JOBS_PER_NOTICE):
        some = list(changes.items())[start : start + JOBS_PER_NOTICE]
        yield "\n".join(f"{state} {job_id}" for job_id, state in some)
