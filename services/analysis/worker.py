"""The worker: claims due jobs and works on them until it is stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from services.analysis.analyzer_client import AnalyzerClient
from services.analysis.breaker import CircuitBreaker
from services.analysis.dispatch import Dispatcher
from services.analysis.dispatch_request import DispatchRequestBuilder
from services.analysis.jobs import Claim, State
from services.analysis.lease import LEASE, held_lease
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore
from services.runtime.errors import DatabaseUnavailable

OVERDUE_BATCH = 1000
_MIN_PAUSE_SECONDS = 0.02
_STATES_WITH_DEADLINE = (State.OPENED, State.UPLOADING, State.DISPATCHED)

_logger = structlog.get_logger(__name__)


class Worker:
    """Claims due jobs, as many as it has room for. Any number of workers run in parallel."""

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        queue: JobQueue,
        builder: DispatchRequestBuilder,
        client: AnalyzerClient,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_pause_seconds)
        self._dispatcher = Dispatcher(settings, store, queue, builder, client, self._breaker)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def wake(self) -> None:
        """Claim due jobs now, instead of at the time when the next one is expected."""
        self._wake.set()

    async def run(self) -> None:
        """Work until stopped.

        When cancelled, the worker abandons its jobs; they are due again after their
        leases. After an unexpected error the jobs under way continue, and `run` may be
        called again.
        """
        try:
            while not self._is_stopping:
                self._wake.clear()
                await self._pause(await self._claim_due())
            await self._finish_running()
        except asyncio.CancelledError:
            for task in self._running:
                task.cancel()
            raise

    async def stop(self) -> None:
        """Claim no more jobs; return when the jobs under way are settled."""
        self._is_stopping = True
        self.wake()
        await self._finish_running()

    async def _finish_running(self) -> None:
        if self._running:
            await asyncio.wait(self._running)

    async def _claim_due(self) -> float:
        """Start work on all due jobs there is room for; returns the seconds until the next."""
        poll_seconds = self._settings.dispatch_poll_seconds
        try:
            if overdue := await self._queue.time_out(OVERDUE_BATCH):
                _logger.warning("jobs timed out", jobs=overdue)
            dispatches = self._breaker.allowance(self._free)
            await self._start(State.QUEUED, dispatches, self._dispatcher.dispatch)
            await self._start(State.DISPATCHED, self._free, self._dispatcher.check_status)
            if not self._free:
                return poll_seconds
            due_seconds = max(_MIN_PAUSE_SECONDS, await self._seconds_until_due())
        except DatabaseUnavailable:
            _logger.warning("database unavailable, jobs wait")
            return poll_seconds
        return min(poll_seconds, due_seconds)

    @property
    def _free(self) -> int:
        return self._settings.dispatch_concurrency - len(self._running)

    async def _start(
        self, state: State, limit: int, work: Callable[[Claim], Awaitable[None]]
    ) -> None:
        if not limit:
            return
        for claim in await self._queue.claim(state, limit, self._name, LEASE):
            if state is State.QUEUED:
                self._breaker.began()
            task = asyncio.create_task(self._work(claim, work))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.wake()

    async def _seconds_until_due(self) -> float:
        # While the circuit breaker is open, queued jobs are due but wait for a probe.
        is_open = self._breaker.is_open
        states = _STATES_WITH_DEADLINE if is_open else (*_STATES_WITH_DEADLINE, State.QUEUED)
        due = await self._queue.seconds_until_due(states)
        waits = [self._settings.dispatch_poll_seconds if due is None else due]
        if is_open:
            waits.append(self._breaker.seconds_until_probe())
        return min(waits)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _work(self, claim: Claim, work: Callable[[Claim], Awaitable[None]]) -> None:
        with structlog.contextvars.bound_contextvars(job_id=str(claim.job_id)):
            try:
                async with held_lease(self._queue, claim):
                    await work(claim)
            except DatabaseUnavailable:
                _logger.warning("database unavailable, the job is due again after its lease")
            except Exception:
                _logger.exception("job failed unexpectedly", dispatch=claim.dispatches)
