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
from services.analysis.heartbeats import Heartbeats
from services.analysis.jobs import Job, State
from services.analysis.store import JobStore, MayUse, everybody
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

    __slots__ = ("_is_woken", "_newest", "_waiting", "job_is_gone")

    def __init__(self) -> None:
        self._newest: Job | None = None
        self._is_woken = False
        self._waiting: asyncio.Future[None] | None = None
        self.job_is_gone = False

    def offer(self, job: Job) -> None:
        """Replace the state that was not received."""
        self._newest = job
        self.wake()

    def end(self) -> None:
        """End the wait in `receive`: the job is no longer stored."""
        self.job_is_gone = True
        self.wake()

    def wake(self) -> None:
        """End the wait in `receive` without a state."""
        self._is_woken = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def receive(self) -> Job | None:
        """Wait for a newer state; None when woken without one."""
        if not self._is_woken:
            # A bare future needs less memory than an event, and there are thousands.
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        self._is_woken = False
        newest, self._newest = self._newest, None
        return newest


class _WatchedJob:
    """The watchers of a job in this process, and a revision that all of them were offered."""

    __slots__ = ("revision", "watchers")

    def __init__(self) -> None:
        self.watchers: set[_Watcher] = set()
        self.revision: int | None = None

    def has_read(self, revision: int) -> None:
        """Note the first state of a watcher; another watcher may have a newer one."""
        self.revision = revision if self.revision is None else min(revision, self.revision)


class ProgressFeed:
    """Delivers the changes of jobs to their watchers."""

    def __init__(
        self,
        store: JobStore,
        heartbeat_seconds: float,
        new_job_seconds: float = NEW_JOB_SECONDS,
    ) -> None:
        """Create a feed.

        heartbeat_seconds: the longest pause after which a state is repeated. new_job_seconds:
        how long after the generation of its id a watch waits for a job that does not exist.
        """
        self._store = store
        self._heartbeats = Heartbeats(heartbeat_seconds)
        self._new_job_seconds = new_job_seconds
        self._watched: dict[UUID, _WatchedJob] = {}
        self._changed: set[UUID] = set()
        self._must_compare = False
        self._has_news = asyncio.Event()
        self._is_stopping = False

    async def watch(self, job_id: UUID, may_use: MayUse = everybody) -> AsyncGenerator[Job]:
        """Yield the job's state, then every newer one, until the job has ended.

        The same state is repeated as a heartbeat. If the id is new and has no job, waits for
        the job. So it does if the watcher may not use the job: a job of another owner is like an
        unknown one. may_use: checked once, at the start.

        Errors: JobNotFound and DatabaseUnavailable at the start; ShuttingDown; JobNotFound
        when the job is deleted and its end was missed.
        """
        with self._subscribed(job_id) as watcher:
            # Read after subscribing, or a change in between would be missed.
            job = await self._first_state(job_id, watcher, may_use)
            self._watched[job_id].has_read(job.revision)
            self._heartbeats.postpone(watcher)
            yield job
            while not job.has_ended:
                if self._is_stopping:
                    raise ShuttingDown
                newer = await watcher.receive()
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
        `run_heartbeats` runs next to it.
        """
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                await self._deliver()
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def run_heartbeats(self) -> None:
        """Repeat the states of unchanged jobs until cancelled."""
        await self._heartbeats.run()

    async def _first_state(self, job_id: UUID, watcher: _Watcher, may_use: MayUse) -> Job:
        """Read a job, or wait until it is created."""
        age = time.time() - unix_seconds_of(job_id)
        is_new = abs(age) < self._new_job_seconds
        # The clock of the process that generated the id may be ahead.
        end = time.monotonic() + self._new_job_seconds - max(0.0, age)
        while True:
            watcher.job_is_gone = False
            try:
                return await self._store.get(job_id, may_use)
            except JobNotFound:
                if not is_new or await self._store.is_deleted(job_id, may_use):
                    raise
                seconds = end - time.monotonic()
                if seconds <= 0:
                    raise
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    job = await watcher.receive()
                    if job is not None and may_use(job.owner_id):
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
        known = {job_id: watched.revision for job_id, watched in self._watched.items()}
        comparison = await self._store.compare(known)
        for job_id in comparison.missing:
            self._end(job_id)
        return comparison.changed

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
                self._heartbeats.postpone(watcher)

    @contextmanager
    def _subscribed(self, job_id: UUID) -> Iterator[_Watcher]:
        watcher = _Watcher()
        watched = self._watched.setdefault(job_id, _WatchedJob())
        watched.watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._heartbeats.forget(watcher)
            watched.watchers.discard(watcher)
            if not watched.watchers:
                del self._watched[job_id]
