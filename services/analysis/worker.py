"""The worker: claims due jobs and works on them until it is stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

import structlog

from services.analysis.analyzer_client import AnalyzerClient
from services.analysis.breaker import CircuitBreaker
from services.analysis.dispatch import Dispatcher
from services.analysis.dispatch_request import DispatchRequestBuilder
from services.analysis.jobs import Claim, State
from services.analysis.lease import LEASE, Leases
from services.analysis.settings import AnalysisSettings
from services.analysis.store import Claimant, JobQueue, JobStore
from services.runtime.errors import DatabaseUnavailable

TIME_OUT_INTERVAL_SECONDS = 1.0
_MAX_TIMED_OUT = 1000

_logger = structlog.get_logger(__name__)


class Worker:
    """Claims due jobs, as many as it has room for. Any number of workers run in parallel.

    leases: of the jobs under way; to be renewed in the background.
    """

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        queue: JobQueue,
        builder: DispatchRequestBuilder,
        client: AnalyzerClient,
    ) -> None:
        self.leases = Leases(queue)
        self._settings = settings
        self._queue = queue
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_pause_seconds)
        self._dispatcher = Dispatcher(settings, store, queue, builder, client, self._breaker)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._wake = asyncio.Event()
        self._running: set[asyncio.Future[bool]] = set()
        self._may_have_more = True
        self._jobs_wait = False
        self._is_stopping = False

    def wake(self) -> None:
        """Claim due jobs now, instead of at the time when the next one is expected."""
        self._wake.set()

    def job_queued(self) -> None:
        """A job waits that no worker has claimed yet: claim it."""
        self._jobs_wait = True
        self.wake()

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait, or as many are under way as there may be."""
        return self._jobs_wait or not self._free

    @contextmanager
    def reserved(self) -> Iterator[Claimant | None]:
        """Reserve room for a job that is submitted in the context; None without room.

        While the analysis server does not respond, there is no room: jobs wait for a probe.
        """
        if self._is_stopping or self.is_busy or self._breaker.is_open:
            yield None
            return
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._running.add(place)
        place.add_done_callback(self._finished)
        try:
            yield Claimant(self._name, LEASE, self._start)
        finally:
            self._running.discard(place)
            if not place.done():
                place.set_result(False)

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

    async def time_out(self) -> bool:
        """Fail jobs whose upload or dispatch is overdue; True when there may be more.

        Call every TIME_OUT_INTERVAL_SECONDS. Errors: DatabaseUnavailable.
        """
        overdue = await self._queue.time_out(_MAX_TIMED_OUT)
        if overdue:
            _logger.warning("jobs timed out", jobs=overdue)
        return overdue == _MAX_TIMED_OUT

    async def _finish_running(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    @property
    def _free(self) -> int:
        return self._settings.dispatch_concurrency - len(self._running)

    async def _claim_due(self) -> float:
        """Start work on all due jobs there is room for; returns the seconds until the next."""
        poll_seconds = self._settings.dispatch_poll_seconds
        free = self._free
        # A job that ends while the statement runs makes room that it does not count.
        self._may_have_more = True
        if not free:
            return poll_seconds
        dispatches = self._breaker.allowance(free)
        self._jobs_wait = False
        try:
            claims, due_seconds = await self._queue.claim_due(dispatches, free, self._name, LEASE)
        except DatabaseUnavailable:
            _logger.warning("database unavailable, jobs wait")
            return poll_seconds
        for claim in claims:
            self._start(claim)
        self._jobs_wait |= len(claims) == free
        self._may_have_more = dispatches < free or len(claims) == free
        waits = [poll_seconds]
        if due_seconds is not None:
            waits.append(due_seconds)
        if not dispatches:
            # Queued jobs may be due, but wait for a probe.
            waits.append(self._breaker.seconds_until_probe())
        return min(waits)

    def _start(self, claim: Claim) -> None:
        if claim.state is State.QUEUED:
            self._breaker.began()
        # A call that submits a job has a request id and a deadline, which are not the job's.
        task = asyncio.create_task(self._work(claim), context=Context())
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[bool]) -> None:
        self._running.discard(task)
        if self._may_have_more or task.cancelled() or task.result():
            self.wake()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _work(self, claim: Claim) -> bool:
        """Work on a job; True when it is due again before the worker looks for the next one."""
        with structlog.contextvars.bound_contextvars(job_id=str(claim.job_id)):
            try:
                with self.leases.held(claim):
                    pause = await self._dispatcher.work(claim)
            except DatabaseUnavailable:
                _logger.warning("database unavailable, the job is due again after its lease")
            except Exception:
                _logger.exception("job failed unexpectedly", dispatch=claim.dispatches)
            else:
                poll_seconds = self._settings.dispatch_poll_seconds
                return pause is not None and pause.total_seconds() < poll_seconds
        return False
