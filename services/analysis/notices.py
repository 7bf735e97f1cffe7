"""Notices of changed jobs, from each process to all, by LISTEN and NOTIFY.

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

import asyncpg
import structlog
from sqlalchemy import func, select

from services.analysis.jobs import State
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable

CHANNEL = "analysis_jobs_changed"
PROBE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
JOBS_PER_NOTICE = 100
"""A payload is at most 8,000 bytes; a job takes 48."""

_logger = structlog.get_logger(__name__)

OnChange = Callable[[UUID, State], None]
OnGap = Callable[[], None]


class Notices:
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
                await asyncio.sleep(RECONNECT_SECONDS)
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
        while True:
            try:
                await self._listen_once()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _logger.warning("notices interrupted", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        connection = await self._database.listening_connection()
        try:
            await connection.add_listener(CHANNEL, self._on_notice)
            while True:
                # At first for what changed while nobody listened, then for what was
                # changed by a process that died before it told.
                for _, missed in self._followers:
                    missed()
                await asyncio.sleep(PROBE_SECONDS)
                # A LISTEN connection can die without a sign.
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _on_notice(self, *notice: object) -> None:
        # asyncpg gives connection, process id, channel and payload.
        for line in str(notice[-1]).splitlines():
            state, _, job_id = line.partition(" ")
            for changed, _ in self._followers:
                changed(UUID(job_id), State(state))


def _payloads(changes: dict[UUID, State]) -> Iterator[str]:
    for start in range(0, len(changes), JOBS_PER_NOTICE):
        some = list(changes.items())[start : start + JOBS_PER_NOTICE]
        yield "\n".join(f"{state} {job_id}" for job_id, state in some)
