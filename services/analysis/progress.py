"""Watching jobs: one LISTEN a process, one read a change, however many watch.

PostgreSQL tells every process which job has changed; a job that nobody here
watches costs nothing more. A watcher holds only the newest state it has not
seen, so a slow one skips states instead of queueing them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import asyncpg
import structlog

from services.analysis.jobs import Job, State
from services.analysis.store import CHANGED, JobStore
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable, ShuttingDown

PROBE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5

_logger = structlog.get_logger(__name__)


class _Watcher:
    """One watcher's place for the newest state it has not seen."""

    def __init__(self) -> None:
        self._newest: Job | None = None
        self._news = asyncio.Event()

    def offer(self, job: Job | None) -> None:
        """Replace what was not seen yet; None only wakes the watcher."""
        if job is not None:
            self._newest = job
        self._news.set()

    async def take(self, timeout_seconds: float) -> Job | None:
        """The newest state, waiting for one; None when none came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        self._news.clear()
        newest, self._newest = self._newest, None
        return newest


class ProgressFeed:
    """Brings the changes of jobs from PostgreSQL to those who watch them."""

    def __init__(
        self,
        database: Database,
        store: JobStore,
        heartbeat_seconds: float,
        on_queued: Callable[[], None],
    ) -> None:
        """Prepare a feed; `on_queued` is called when a job becomes due for dispatch."""
        self._database = database
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._on_queued = on_queued
        self._watchers: defaultdict[UUID, set[_Watcher]] = defaultdict(set)
        self._changed: set[UUID] = set()
        self._has_changed = asyncio.Event()
        self._stopping = False

    async def watch(self, job_id: UUID) -> AsyncGenerator[Job]:
        """The job's state now, then every newer one, repeated as a heartbeat, to the end.

        Errors: JobNotFound, DatabaseUnavailable at the start, ShuttingDown.
        """
        with self._subscribed(job_id) as watcher:
            # Only after subscribing, or a change in between would be missed.
            job = await self._store.get(job_id)
            yield job
            while not job.ended:
                if self._stopping:
                    raise ShuttingDown
                newer = await watcher.take(self._heartbeat_seconds)
                if newer is not None and newer.revision <= job.revision:
                    continue
                job = newer or job
                yield job

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return sum(map(len, self._watchers.values()))

    def stop(self) -> None:
        """End all watchers."""
        self._stopping = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.offer(None)

    async def run(self) -> None:
        """Follow the notices for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._read_changed())

    @contextmanager
    def _subscribed(self, job_id: UUID) -> Iterator[_Watcher]:
        watcher = _Watcher()
        self._watchers[job_id].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

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
            await connection.add_listener(CHANGED, self._on_notice)
            # Whatever changed while nobody listened is read now.
            self._mark_changed(*self._watchers)
            self._on_queued()
            while True:
                await asyncio.sleep(PROBE_SECONDS)
                # A LISTEN connection can die without a sign.
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _on_notice(self, *notice: object) -> None:
        # asyncpg gives connection, process id, channel and payload.
        state, _, job_id = str(notice[-1]).partition(" ")
        if state == State.QUEUED:
            self._on_queued()
        self._mark_changed(UUID(job_id))

    def _mark_changed(self, *job_ids: UUID) -> None:
        self._changed.update(job_id for job_id in job_ids if job_id in self._watchers)
        if self._changed:
            self._has_changed.set()

    async def _read_changed(self) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            job_ids, self._changed = self._changed, set()
            try:
                found = await self._store.get_many(job_ids)
            except DatabaseUnavailable:
                self._mark_changed(*job_ids)
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            for job in found:
                for watcher in self._watchers.get(job.job_id, ()):
                    watcher.offer(job)
