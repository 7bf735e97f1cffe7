"""Working on one claimed job: call the analysis server, decide, store the decision."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import structlog

from services.analysis.analyzer_client import AnalyzerClient
from services.analysis.breaker import CircuitBreaker
from services.analysis.decisions import (
    AwaitReport,
    Complete,
    Decision,
    Fail,
    KeepWaiting,
    Limits,
    Postpone,
    Redispatch,
    decide,
    may_dispatch,
)
from services.analysis.dispatch_request import DispatchRequest, DispatchRequestBuilder
from services.analysis.errors import JobNotFound
from services.analysis.jobs import AttemptOutcome, Claim, State, progress_of
from services.analysis.outcomes import (
    Fault,
    NoReport,
    Outcome,
    PermanentFailure,
    TransientFailure,
    WorkersDied,
)
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobQueue, JobStore, Settlement
from services.analysis.store.settlements import (
    accepted,
    completed,
    failed,
    postponed,
    redispatched,
    waiting,
)
from services.runtime.batches import Batches

_MAX_SETTLED = 64
_SETTLE_WINDOW_SECONDS = 0.02

_logger = structlog.get_logger(__name__)


class Dispatcher:
    """Dispatches claimed jobs, and reads the status of dispatched ones."""

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        queue: JobQueue,
        builder: DispatchRequestBuilder,
        client: AnalyzerClient,
        breaker: CircuitBreaker,
    ) -> None:
        """Create a dispatcher. breaker: learns how the analysis server responds."""
        self._settings = settings
        self._store = store
        self._queue = queue
        self._settlements = Batches(
            queue.settle_many,
            lambda each: each.claim.job_id,
            max_items=_MAX_SETTLED,
            window_seconds=_SETTLE_WINDOW_SECONDS,
        )
        self._builder = builder
        self._client = client
        self._breaker = breaker
        self._limits = Limits(
            settings.dispatch_max_attempts,
            settings.analysis_max_silences,
            settings.dispatch_backoff_seconds,
        )

    async def work(self, claim: Claim) -> timedelta | None:
        """Dispatch a queued job, or read the status of a dispatched one.

        Returns the pause until the job is due again; None when it has ended.
        Errors: DatabaseUnavailable.
        """
        is_queued = claim.state is State.QUEUED
        return await (self._dispatch(claim) if is_queued else self._check_status(claim))

    async def _dispatch(self, claim: Claim) -> timedelta | None:
        try:
            outcome = await self._dispatched(claim)
        except BaseException:
            self._breaker.abandoned()
            raise
        self._inform_breaker(outcome)
        decision = self._decide(claim, outcome)
        settlement = self._settlement_of(claim, decision)
        held = await self._settlements.run(settlement)
        _logger.info(
            "dispatch settled",
            dispatch=claim.dispatches,
            outcome=_log_text(outcome),
            decision=type(decision).__name__,
            held=held,
        )
        return None if isinstance(decision, Complete | Fail) else settlement.pause

    async def _check_status(self, claim: Claim) -> timedelta | None:
        decision = self._decide(claim, await self._status_of(claim))
        if isinstance(decision, Redispatch) or _is_silent(decision):
            silences = claim.silences + 1
            _logger.warning("no report in time", dispatch=claim.dispatches, silences=silences)
        if isinstance(decision, KeepWaiting) and decision.progress is not None:
            percent = progress_of(decision.progress.percent)
            with suppress(JobNotFound):
                await self._store.advance(claim.job_id, percent, decision.progress.stage)
        settlement = self._settlement_of(claim, decision)
        await self._settlements.run(settlement)
        return None if isinstance(decision, Complete | Fail) else settlement.pause

    async def _dispatched(self, claim: Claim) -> Outcome:
        if not may_dispatch(claim, self._limits):
            return WorkersDied()
        fault = Fault.OURS
        try:
            async with asyncio.timeout(self._settings.dispatch_timeout_seconds):
                request = await self._builder.build(claim)
                if not isinstance(request, DispatchRequest):
                    return request
                if request.token_revision != claim.token_revision:
                    await self._queue.set_token_revision(claim, request.token_revision)
                fault = Fault.SERVERS
                return await self._client.dispatch(str(claim.job_id), request.body)
        except TimeoutError:
            return TransientFailure("no answer in time", fault)

    async def _status_of(self, claim: Claim) -> Outcome:
        if claim.status_url is None:
            return NoReport()
        try:
            async with asyncio.timeout(self._settings.dispatch_timeout_seconds):
                return await self._client.status(claim.status_url)
        except TimeoutError:
            return NoReport()

    def _inform_breaker(self, outcome: Outcome) -> None:
        """Tell the circuit breaker whether the analysis server responded."""
        match outcome:
            case WorkersDied() | PermanentFailure(answered=False):
                self._breaker.abandoned()
            case TransientFailure(fault=Fault.OURS):
                self._breaker.abandoned()
            case TransientFailure():
                self._breaker.failed()
            case _:
                self._breaker.succeeded()

    def _decide(self, claim: Claim, outcome: Outcome) -> Decision:
        return decide(outcome, claim, self._limits, jitter=random.random())  # noqa: S311

    def _settlement_of(self, claim: Claim, decision: Decision) -> Settlement:
        settings = self._settings
        status_poll = timedelta(seconds=settings.status_poll_seconds)
        match decision:
            case Complete(results):
                version = results.analyzer_version or settings.analyzer_version
                return completed(claim, results.result, version)
            case Fail():
                return failed(claim, decision)
            case Postpone():
                return postponed(claim, decision)
            case Redispatch():
                return redispatched(claim, timedelta(seconds=settings.dispatch_deadline_seconds))
            case AwaitReport(status_url):
                timeout = timedelta(seconds=settings.analysis_timeout_seconds)
                return accepted(claim, timeout, status_url, status_poll)
            case KeepWaiting():
                return waiting(claim, status_poll)


def _log_text(outcome: Outcome) -> str:
    """An outcome for the log, without results and sentences for learners."""
    match outcome:
        case PermanentFailure(reason=reason, error=error):
            return f"PermanentFailure({reason}, {error})"
        case TransientFailure(error=error):
            return f"TransientFailure({error})"
        case _:
            return type(outcome).__name__


def _is_silent(decision: Decision) -> bool:
    """Whether a job fails because the analysis server never reported it."""
    return isinstance(decision, Fail) and decision.attempt_outcome is AttemptOutcome.SILENT
