"""The worker: takes due jobs, dispatches them, asks after them, times them out."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from services.analysis.breaker import CircuitBreaker
from services.analysis.dispatch import (
    Accepted,
    AnalyzerClient,
    DispatchRequestBuilder,
    Fault,
    Outcome,
    PermanentFailure,
    Prepared,
    TransientFailure,
    pause_before,
)
from services.analysis.jobs import (
    ANALYSIS_SERVER_UNAVAILABLE,
    AttemptOutcome,
    Claim,
    State,
    reported_progress,
)
from services.analysis.reports import Failure, Progress, Report, Results
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore
from services.runtime.errors import DatabaseUnavailable

LEASE = timedelta(seconds=10)
"""How long after a worker's death its jobs are due again."""

RENEWAL_SECONDS = 3.0
OVERDUE_BATCH = 1000
_LEAST_PAUSE_SECONDS = 0.02
_TIMED_STATES = (State.OPENED, State.UPLOADING, State.DISPATCHED)

_logger = structlog.get_logger(__name__)


class Worker:
    """Works on due jobs, any number of workers beside each other."""

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        queue: JobQueue,
        preparer: DispatchRequestBuilder,
        server: AnalyzerClient,
    ) -> None:
        self._settings = settings
        self._store = store
        self._queue = queue
        self._preparer = preparer
        self._server = server
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_pause_seconds)
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False

    def wake(self) -> None:
        """Look for due jobs now instead of when the next is expected."""
        self._wake.set()

    async def run(self) -> None:
        """Work until stopped; when cancelled, jobs under way are left to their leases."""
        try:
            while not self._stopping:
                self._wake.clear()
                pause = self._settings.dispatch_poll_seconds
                try:
                    pause = min(pause, await self._take_due())
                except DatabaseUnavailable:
                    _logger.warning("database unavailable, jobs wait")
                await self._pause(pause)
            await self._settled()
        finally:
            for task in self._running:
                task.cancel()

    async def stop(self) -> None:
        """Take no more jobs; return when those under way are settled."""
        self._stopping = True
        self.wake()
        await self._settled()

    async def _settled(self) -> None:
        if self._running:
            await asyncio.wait(self._running)

    async def _take_due(self) -> float:
        """Start on all that is due and there is room for; returns when to look again."""
        if overdue := await self._queue.time_out(OVERDUE_BATCH):
            _logger.warning("jobs timed out", jobs=overdue)
        await self._start(State.QUEUED, self._breaker.allowance(self._free), self._dispatch)
        await self._start(State.DISPATCHED, self._free, self._check)
        if not self._free:
            return self._settings.dispatch_poll_seconds
        return max(_LEAST_PAUSE_SECONDS, await self._seconds_until_due())

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
        states = _TIMED_STATES if self._breaker.is_open else (*_TIMED_STATES, State.QUEUED)
        due = await self._queue.seconds_until_due(states)
        waits = [self._settings.dispatch_poll_seconds if due is None else due]
        if self._breaker.is_open:
            waits.append(self._breaker.seconds_until_probe())
        return min(waits)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _work(self, claim: Claim, work: Callable[[Claim], Awaitable[None]]) -> None:
        with structlog.contextvars.bound_contextvars(job_id=str(claim.job_id)):
            try:
                async with self._kept(claim):
                    await work(claim)
            except DatabaseUnavailable:
                _logger.warning("database unavailable, the job is due again after its lease")
            except Exception:
                _logger.exception("job failed unexpectedly", attempt=claim.attempt)

    @asynccontextmanager
    async def _kept(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the lease for as long as the work takes; stop the work when it is lost."""
        working = asyncio.current_task()
        renewing = asyncio.create_task(self._renew(claim, working))
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, claim: Claim, working: asyncio.Task[None] | None) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            with suppress(DatabaseUnavailable):
                if not await self._queue.extend_lease(claim, LEASE) and working is not None:
                    _logger.warning("lease lost", attempt=claim.attempt)
                    working.cancel()
                    return

    async def _dispatch(self, claim: Claim) -> None:
        try:
            outcome = await self._attempt(claim)
        except BaseException:
            self._breaker.abandoned()
            raise
        self._judge(outcome)
        held = await self._settle(claim, outcome)
        _logger.info("dispatch", attempt=claim.attempt, outcome=_described(outcome), held=held)

    async def _attempt(self, claim: Claim) -> Outcome:
        if claim.tries > self._settings.dispatch_max_attempts:
            # The last attempt's worker died; a job that kills workers must end, too.
            return PermanentFailure(
                ANALYSIS_SERVER_UNAVAILABLE, error="no attempts left", answered=False
            )
        sent = False
        try:
            async with asyncio.timeout(self._settings.dispatch_timeout_seconds):
                prepared = await self._preparer.prepare(claim)
                if not isinstance(prepared, Prepared):
                    return prepared
                if prepared.token_revision != claim.token_revision:
                    await self._queue.note_token_revision(claim, prepared.token_revision)
                sent = True
                return await self._server.post(str(claim.job_id), prepared.body)
        except TimeoutError:
            return TransientFailure("no answer in time", Fault.SERVERS if sent else Fault.OURS)

    def _judge(self, outcome: Outcome) -> None:
        """What the outcome says of the analysis server, not of the job."""
        match outcome:
            case TransientFailure(fault=Fault.OURS) | PermanentFailure(answered=False):
                self._breaker.abandoned()
            case TransientFailure():
                self._breaker.failed()
            case _:
                self._breaker.succeeded()

    async def _settle(self, claim: Claim, outcome: Outcome) -> bool:
        match outcome:
            case Accepted(status_url):
                timeout = timedelta(seconds=self._settings.analysis_timeout_seconds)
                return await self._queue.accept_dispatch(
                    claim, timeout, status_url, self._status_poll
                )
            case Results(result, version):
                version = version or self._settings.analyzer_version
                return await self._queue.complete_dispatch(claim, result, version)
            case PermanentFailure(reason=reason, message=message, error=error):
                return await self._queue.fail_dispatch(
                    claim, reason, message, AttemptOutcome.REFUSED, error
                )
            case TransientFailure():
                return await self._try_again(claim, outcome)

    async def _try_again(self, claim: Claim, failed: TransientFailure) -> bool:
        counts = failed.fault is Fault.SERVERS
        if counts and claim.tries >= self._settings.dispatch_max_attempts:
            return await self._queue.fail_dispatch(
                claim, ANALYSIS_SERVER_UNAVAILABLE, "", AttemptOutcome.FAILED, failed.error
            )
        first = self._settings.dispatch_backoff_seconds
        pause = max(pause_before(claim.tries, first), failed.pause)
        return await self._queue.postpone_dispatch(claim, pause, counts=counts, error=failed.error)

    async def _check(self, claim: Claim) -> None:
        """Ask after a job that was accepted, or end its silence."""
        report = await self._status(claim)
        match report:
            case Results(result, version):
                version = version or self._settings.analyzer_version
                await self._queue.complete_dispatch(claim, result, version)
            case Failure(reason, message):
                error = f"its status says that it failed: {reason}"
                await self._queue.fail_dispatch(
                    claim, reason, message, AttemptOutcome.REFUSED, error
                )
            case Progress() | None if claim.deadline_passed:
                await self._end_silence(claim)
            case Progress(percent, stage):
                await self._store.advance(claim.job_id, reported_progress(percent), stage)
                await self._queue.wait_for_report(claim, self._status_poll)
            case None:
                await self._queue.wait_for_report(claim, self._status_poll)

    async def _status(self, claim: Claim) -> Report | None:
        if claim.status_url is None:
            return None
        try:
            async with asyncio.timeout(self._settings.dispatch_timeout_seconds):
                return await self._server.status(claim.status_url)
        except TimeoutError:
            return None

    async def _end_silence(self, claim: Claim) -> None:
        exhausted = claim.tries >= self._settings.dispatch_max_attempts
        if exhausted or claim.silences >= self._settings.analysis_max_silences:
            await self._queue.time_out_report(claim)
        else:
            deadline = timedelta(seconds=self._settings.dispatch_deadline_seconds)
            await self._queue.break_silence(claim, deadline)
        _logger.warning("no report in time", attempt=claim.attempt, silences=claim.silences + 1)

    @property
    def _status_poll(self) -> timedelta:
        return timedelta(seconds=self._settings.status_poll_seconds)


def _described(outcome: Outcome) -> str:
    """An outcome for the log, without results and sentences."""
    match outcome:
        case PermanentFailure(reason=reason, error=error):
            return f"PermanentFailure({reason}, {error})"
        case TransientFailure(error):
            return f"TransientFailure({error})"
        case _:
            return type(outcome).__name__
