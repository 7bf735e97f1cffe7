"""The progress feed: watchers of jobs, and one read of each change for all of them.

A job without watchers in this process costs nothing. A watcher holds only the newest
state it has not received, so a slow one skips states instead of queueing them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from services.analysis.errors import JobNotFound
from services.analysis.jobs import Job, State
from services.analysis.store import JobStore
from services.runtime.errors import DatabaseUnavailable, ShuttingDown
from services.runtime.ids import unix_seconds_of

RETRY_SECONDS = 0.5
NEW_JOB_SECONDS = 10.0
"""How long after its generation the id of a job may be unknown.

Clients get the id before the job is created: while the upload lasts, for up to a second,
and the calls that create the job may be slow.
"""


class _Watcher:
    """Holds the newest state that a watcher has not received."""

    def __init__(self) -> None:
        self._newest: Job | None = None
        self._has_news = asyncio.Event()
        self.job_is_gone = False

    def offer(self, job: Job) -> None:
        """Replace the state that was not received."""
        self._newest = job
        self._has_news.set()

    def end(self) -> None:
        """End the wait in `receive`: the job is no longer stored."""
        self.job_is_gone = True
        self.wake()

    def wake(self) -> None:
        """End the wait in `receive` without a state."""
        self._has_news.set()

    async def receive(self, timeout_seconds: float) -> Job | None:
        """Wait for a newer state; None when woken or when none arrives in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._has_news.wait()
        self._has_news.clear()
        newest, self._newest = self._newest, None
        return newest


class _WatchedJob:
    """The watchers of a job in this process, and the revision they were offered last."""

    def __init__(self) -> None:
        self.watchers: set[_Watcher] = set()
        self.revision = 0


class ProgressFeed:
    """Delivers the changes of jobs to their watchers."""

    def __init__(
        self,
        store: JobStore,
        heartbeat_seconds: float,
        new_job_seconds: float = NEW_JOB_SECONDS,
    ) -> None:
        """Create a feed.

        heartbeat_seconds: the pause after which a state is repeated. new_job_seconds: how
        long after the generation of its id a watch waits for a job that does not exist.
        """
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._new_job_seconds = new_job_seconds
        self._watched: dict[UUID, _WatchedJob] = {}
        self._changed: set[UUID] = set()
        self._must_compare = False
        self._has_news = asyncio.Event()
        self._is_stopping = False

    async def watch(self, job_id: UUID) -> AsyncGenerator[Job]:
        """Yield the job's state, then every newer one, until the job has ended.

        The same state is repeated as a heartbeat. If the id is new and has no job, waits for
        the job.
        Errors: JobNotFound and DatabaseUnavailable at the start; ShuttingDown; JobNotFound
        when the job is deleted and its end was missed.
        """
        with self._subscribed(job_id) as watcher:
            # Read after subscribing, or a change in between would be missed.
            job = await self._first_state(job_id, watcher)
            yield job
            while not job.has_ended:
                if self._is_stopping:
                    raise ShuttingDown
                newer = await watcher.receive(self._heartbeat_seconds)
                if newer is None and watcher.job_is_gone:
                    newer = await self._store.get(job_id)
                if newer is not None and newer.revision <= job.revision:
                    continue
                job = newer or job
                yield job

    @property
    def watchers(self) -> int:
        """The number of watchers."""
        return sum(len(watched.watchers) for watched in self._watched.values())

    def changed(self, job_id: UUID, _: State) -> None:
        """Deliver the new state of a job, if it is watched."""
        if job_id in self._watched:
            self._changed.add(job_id)
            self._has_news.set()

    def missed(self) -> None:
        """Compare the revisions of all watched jobs: notifications may have been missed."""
        if self._watched:
            self._must_compare = True
            self._has_news.set()

    async def stop(self) -> None:
        """End all watches with ShuttingDown."""
        self._is_stopping = True
        for watched in self._watched.values():
            for watcher in watched.watchers:
                watcher.wake()

    async def run(self) -> None:
        """Read and deliver changes until cancelled.

        After an unexpected error `run` may be called again: what was not read is kept.
        """
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                await self._deliver()
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _first_state(self, job_id: UUID, watcher: _Watcher) -> Job:
        """Read a job, or wait until it is created."""
        age = time.time() - unix_seconds_of(job_id)
        is_new = abs(age) < self._new_job_seconds
        # The clock of the process that generated the id may be ahead.
        end = time.monotonic() + self._new_job_seconds - max(0.0, age)
        while True:
            watcher.job_is_gone = False
            try:
                return await self._store.get(job_id)
            except JobNotFound:
                if not is_new or await self._store.is_deleted(job_id):
                    raise
                seconds = end - time.monotonic()
                if seconds <= 0:
                    raise
            if (job := await watcher.receive(seconds)) is not None:
                return job
            if self._is_stopping:
                raise ShuttingDown

    async def _deliver(self) -> None:
        must_compare, self._must_compare = self._must_compare, False
        job_ids, self._changed = self._changed, set()
        try:
            if must_compare:
                job_ids |= await self._outdated()
            await self._offer(job_ids)
        except BaseException:
            self._changed |= job_ids
            self._must_compare |= must_compare
            self._has_news.set()
            raise

    async def _outdated(self) -> set[UUID]:
        asked = set(self._watched)
        found = await self._store.revisions(asked)
        for job_id in asked - found.keys():
            self._end(job_id)
        return {
            job_id
            for job_id, revision in found.items()
            if job_id in self._watched and revision > self._watched[job_id].revision
        }

    def _end(self, job_id: UUID) -> None:
        if job_id in self._watched:
            for watcher in self._watched[job_id].watchers:
                watcher.end()

    async def _offer(self, job_ids: set[UUID]) -> None:
        if not job_ids:
            return
        for job in await self._store.get_many(job_ids):
            watched = self._watched.get(job.job_id)
            if watched is None:
                continue
            watched.revision = job.revision
            for watcher in watched.watchers:
                watcher.offer(job)

    @contextmanager
    def _subscribed(self, job_id: UUID) -> Iterator[_Watcher]:
        watcher = _Watcher()
        watched = self._watched.setdefault(job_id, _WatchedJob())
        watched.watchers.add(watcher)
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers:
                del self._watched[job_id]
