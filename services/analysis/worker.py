"""The worker: takes due jobs, dispatches them, times out the overdue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from services.analysis.dispatch import (
    Accepted,
    Completed,
    Dispatcher,
    Outcome,
    Refused,
    TryAgain,
    pause_before,
)
from services.analysis.jobs import Dispatch
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobStore
from services.runtime.errors import DatabaseUnavailable

LEASE = timedelta(seconds=10)
"""How long after a worker's death its dispatches are due again."""

RENEWAL_SECONDS = 3.0

_logger = structlog.get_logger(__name__)


class Worker:
    """Works on due jobs, any number of workers beside each other."""

    def __init__(self, settings: AnalysisSettings, store: JobStore, dispatcher: Dispatcher) -> None:
        self._settings = settings
        self._store = store
        self._dispatcher = dispatcher
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look for due jobs now instead of at the next poll."""
        self._wake.set()

    async def run(self) -> None:
        """Work for ever; when cancelled, dispatches under way are left to their leases."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._take_due()
                except DatabaseUnavailable:
                    _logger.warning("database unavailable, jobs wait")
                await self._pause()
        finally:
            for task in self._running:
                task.cancel()

    async def _take_due(self) -> None:
        if overdue := await self._store.time_out():
            _logger.warning("jobs timed out", jobs=overdue)
        while free := self._settings.dispatch_concurrency - len(self._running):
            claimed = await self._store.claim(free, LEASE)
            for dispatch in claimed:
                self._start(dispatch)
            if len(claimed) < free:
                return

    def _start(self, dispatch: Dispatch) -> None:
        task = asyncio.create_task(self._work(dispatch))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.wake()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._settings.dispatch_poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _work(self, dispatch: Dispatch) -> None:
        with structlog.contextvars.bound_contextvars(job_id=str(dispatch.job_id)):
            try:
                outcome = await self._attempt(dispatch)
                await self._settle(dispatch, outcome)
                _logger.info("dispatch", attempt=dispatch.attempt, outcome=_described(outcome))
            except DatabaseUnavailable:
                _logger.warning("database unavailable, the job is due again after its lease")
            except Exception:
                _logger.exception("dispatch failed unexpectedly", attempt=dispatch.attempt)

    async def _attempt(self, dispatch: Dispatch) -> Outcome:
        if dispatch.attempt > self._settings.dispatch_max_attempts:
            # The last attempt's worker died; one that kills workers must end, too.
            return Refused("ANALYSIS_SERVER_UNAVAILABLE")
        async with self._kept(dispatch):
            return await self._dispatcher.send(dispatch)

    @asynccontextmanager
    async def _kept(self, dispatch: Dispatch) -> AsyncIterator[None]:
        """Renew the lease of a dispatch for as long as it takes."""
        renewing = asyncio.create_task(self._renew(dispatch))
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, dispatch: Dispatch) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            with suppress(DatabaseUnavailable):
                await self._store.extend_lease(dispatch, LEASE)

    async def _settle(self, dispatch: Dispatch, outcome: Outcome) -> None:
        match outcome:
            case Accepted():
                timeout = timedelta(seconds=self._settings.analysis_timeout_seconds)
                await self._store.accept_dispatch(dispatch, timeout)
            case Completed(result):
                await self._store.complete(dispatch.job_id, result)
            case Refused(reason):
                await self._store.fail_dispatch(dispatch, reason)
            case TryAgain():
                await self._try_again(dispatch)

    async def _try_again(self, dispatch: Dispatch) -> None:
        if dispatch.attempt >= self._settings.dispatch_max_attempts:
            await self._store.fail_dispatch(dispatch, "ANALYSIS_SERVER_UNAVAILABLE")
            return
        pause = pause_before(dispatch.attempt, self._settings.dispatch_backoff_seconds)
        await self._store.postpone_dispatch(dispatch, pause)


def _described(outcome: Outcome) -> str:
    """An outcome for the log, without the result."""
    return "Completed" if isinstance(outcome, Completed) else repr(outcome)
