"""Notifications of changed jobs, from each process to all, by LISTEN and NOTIFY.

A NOTIFY takes a lock that every transaction with a NOTIFY waits for when it commits, so
no transaction that changes a job contains one. Each process collects its changes and
sends them a moment later, many jobs at once, in a transaction that writes nothing. A
process that dies before that sends nothing: subscribers compare revisions every few
seconds to notice it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import UUID

from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.analysis.jobs import State
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.statements import Statement

CHANNEL = "analysis_jobs_changed"
RETRY_SECONDS = 0.5
JOBS_PER_NOTIFICATION = 100
"""A payload is limited to 8,000 bytes; a job takes at most 48."""

_PAYLOADS = func.unnest(bindparam("payloads", type_=ARRAY(Text))).column_valued("payload")
_NOTIFY = Statement(select(func.pg_notify(CHANNEL, _PAYLOADS)))

OnChange = Callable[[UUID, State], None]
OnGap = Callable[[], None]


class JobNotifications:
    """Sends the notifications of a process and receives those of all, on one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: list[tuple[OnChange, OnGap]] = []
        self._unsent: dict[UUID, State] = {}
        self._has_unsent = asyncio.Event()

    def subscribe(self, changed: OnChange, missed: OnGap) -> None:
        """Call `changed` for every job that changes, in any process.

        missed: called when notifications may have been missed; also once at the start.
        """
        self._subscribers.append((changed, missed))

    def notify(self, job_id: UUID, state: State) -> None:
        """Notify all processes soon that a job has changed."""
        self._unsent[job_id] = state
        self._has_unsent.set()

    async def run(self) -> None:
        """Receive and send until cancelled, then send the rest.

        After an unexpected error `run` may be called again: what was not sent is kept.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive())
                tasks.create_task(self._send())
        finally:
            with suppress(DatabaseUnavailable):
                await self._send_collected()

    async def _send(self) -> None:
        while True:
            await self._has_unsent.wait()
            self._has_unsent.clear()
            try:
                await self._send_collected()
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_collected(self) -> None:
        unsent, self._unsent = self._unsent, {}
        if not unsent:
            return
        try:
            async with self._database.connection() as connection:
                await _NOTIFY.rows(connection, payloads=list(_payloads(unsent)))
        except BaseException:
            self._unsent = unsent | self._unsent
            self._has_unsent.set()
            raise

    async def _receive(self) -> None:
        await self._database.listen(CHANNEL, self._received, self._missed)

    def _received(self, payload: str) -> None:
        for line in payload.splitlines():
            state, _, job_id = line.partition(" ")
            for changed, _ in self._subscribers:
                changed(UUID(job_id), State(state))

    def _missed(self) -> None:
        for _, missed in self._subscribers:
            missed()


def _payloads(changes: dict[UUID, State]) -> Iterator[str]:
    for start in range(0, len(changes), JOBS_PER_NOTIFICATION):
        batch = list(changes.items())[start : start + JOBS_PER_NOTIFICATION]
        yield "\n".join(f"{state} {job_id}" for job_id, state in batch)
