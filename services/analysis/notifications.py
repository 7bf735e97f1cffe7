"""Notifications of changed jobs, from each process to all, by LISTEN and NOTIFY.

A NOTIFY takes a lock that every transaction with a NOTIFY waits for when it commits, so
no transaction that changes a job contains one. Each process collects its changes and
sends them a moment later, many jobs at once, in a transaction that writes nothing; its own
subscribers get them immediately. A process that dies before that sends nothing: subscribers
compare revisions every few seconds to notice it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import UUID

from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.analysis.jobs import ENDS, State
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.statements import Statement

CHANNEL = "analysis_jobs_changed"
RETRY_SECONDS = 0.5
MERGE_SECONDS = 0.01
"""How long a change waits for further changes of the same job, unless it is urgent."""

URGENT = ENDS | {State.QUEUED}
"""The states of which other processes learn immediately: clients and workers wait for them."""

PAUSE_SECONDS = 0.005
"""The shortest time from a notification to the next one."""

JOBS_PER_NOTIFICATION = 100
"""A payload is limited to 8,000 bytes; a job takes at most 48."""

_MAX_ECHOES = 1000

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
        self._has_urgent = asyncio.Event()
        # Payloads of this process that PostgreSQL has not sent back yet.
        self._echoes: set[str] = set()

    def subscribe(self, changed: OnChange, missed: OnGap) -> None:
        """Call `changed` for every job that changes, in any process.

        missed: called when notifications may have been missed; also once at the start.
        """
        self._subscribers.append((changed, missed))

    def notify(self, job_id: UUID, state: State) -> None:
        """Notify this process now, and all others soon, that a job has changed."""
        self._deliver(job_id, state)
        self._unsent[job_id] = state
        self._has_unsent.set()
        if state in URGENT:
            self._has_urgent.set()

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
        loop, earliest = asyncio.get_running_loop(), 0.0
        while True:
            await self._has_unsent.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(MERGE_SECONDS):
                    await self._has_urgent.wait()
            await asyncio.sleep(earliest - loop.time())
            earliest = loop.time() + PAUSE_SECONDS
            try:
                await self._send_collected()
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_collected(self) -> None:
        self._has_unsent.clear()
        self._has_urgent.clear()
        unsent, self._unsent = self._unsent, {}
        if not unsent:
            return
        payloads = list(_payloads(unsent))
        if len(self._echoes) > _MAX_ECHOES:
            # The connection that receives has been down for long.
            self._echoes.clear()
        self._echoes.update(payloads)
        try:
            async with self._database.connection() as connection:
                await _NOTIFY.rows(connection, payloads=payloads)
        except BaseException:
            self._unsent = unsent | self._unsent
            self._has_unsent.set()
            raise

    async def _receive(self) -> None:
        await self._database.listen(CHANNEL, self._received, self._missed)

    def _received(self, payload: str) -> None:
        if payload in self._echoes:
            self._echoes.remove(payload)
            return
        for line in payload.splitlines():
            state, _, job_id = line.partition(" ")
            self._deliver(UUID(job_id), State(state))

    def _deliver(self, job_id: UUID, state: State) -> None:
        for changed, _ in self._subscribers:
            changed(job_id, state)

    def _missed(self) -> None:
        # Those that were lost must not hide equal ones of other processes.
        self._echoes.clear()
        for _, missed in self._subscribers:
            missed()


def _payloads(changes: dict[UUID, State]) -> Iterator[str]:
    for start in range(0, len(changes), JOBS_PER_NOTIFICATION):
        batch = list(changes.items())[start : start + JOBS_PER_NOTIFICATION]
        yield "\n".join(f"{state} {job_id}" for job_id, state in batch)
