"""Watching jobs: one read a change, however many watch.

A job that nobody here watches costs nothing. A watcher holds only the newest
state it has not seen, so a slow one skips states instead of queueing them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from services.analysis.jobs import Job, State
from services.analysis.store import JobStore
from services.runtime.errors import DatabaseUnavailable, ShuttingDown

RETRY_SECONDS = 0.5


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


class _Watched:
    """A job that is watched here, and the revision its watchers have been offered."""

    def __init__(self) -> None:
        self.watchers: set[_Watcher] = set()
        self.revision = 0


class ProgressFeed:
    """Brings the changes of jobs to those who watch them."""

    def __init__(self, store: JobStore, heartbeat_seconds: float) -> None:
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._watched: dict[UUID, _Watched] = {}
        self._changed: set[UUID] = set()
        self._compare = False
        self._has_news = asyncio.Event()
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
        return sum(len(watched.watchers) for watched in self._watched.values())

    def changed(self, job_id: UUID, _: State) -> None:
        """A job has changed: read it, if it is watched."""
        if job_id in self._watched:
            self._changed.add(job_id)
            self._has_news.set()

    def missed(self) -> None:
        """Changes may have been missed: compare all that is watched."""
        if self._watched:
            self._compare = True
            self._has_news.set()

    async def stop(self) -> None:
        """End all watchers."""
        self._stopping = True
        for watched in self._watched.values():
            for watcher in watched.watchers:
                watcher.offer(None)

    async def run(self) -> None:
        """Read what has changed for ever."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            compare, self._compare = self._compare, False
            job_ids, self._changed = self._changed, set()
            try:
                if compare:
                    job_ids |= await self._outdated()
                await self._offer(job_ids)
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                self._changed |= job_ids
                self._compare |= compare
                self._has_news.set()

    async def _outdated(self) -> set[UUID]:
        found = await self._store.revisions(self._watched)
        return {
            job_id
            for job_id, revision in found.items()
            if job_id in self._watched and revision > self._watched[job_id].revision
        }

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
        watched = self._watched.setdefault(job_id, _Watched())
        watched.watchers.add(watcher)
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers:
                del self._watched[job_id]
