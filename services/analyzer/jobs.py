"""Jobs: accepted, run, reported."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures.process import BrokenProcessPool
from enum import Enum, auto
from uuid import UUID

import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.fetch import Fetcher, TooLarge, Unavailable
from services.analyzer.job import Job
from services.analyzer.pool import WorkerPool
from services.analyzer.report import Report, Reporter, failure_report
from services.analyzer.score import ANALYZER_VERSION
from services.analyzer.settings import AnalyzerSettings
from services.analyzer.worker import analyse

# While some jobs compute, others fetch their files; more would only hold memory.
_SLOTS_PER_WORKER = 2

_log = structlog.get_logger(__name__)


class Acceptance(Enum):
    """What became of a job that was handed in."""

    ACCEPTED = auto()
    REPEATED = auto()
    NO_ROOM = auto()


class Jobs:
    """The jobs of this process. A job is known by its id, running or lately reported."""

    def __init__(
        self, settings: AnalyzerSettings, pool: WorkerPool, fetcher: Fetcher, reporter: Reporter
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._fetcher = fetcher
        self._reporter = reporter
        self._slots = asyncio.Semaphore(settings.workers * _SLOTS_PER_WORKER)
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._reported: dict[UUID, float] = {}

    def accept(self, job: Job) -> Acceptance:
        """Start the job, unless it is known or too many are running."""
        self._forget_old()
        if job.job_id in self._running or job.job_id in self._reported:
            return Acceptance.REPEATED
        if len(self._running) >= self._settings.max_queued:
            return Acceptance.NO_ROOM
        task = asyncio.create_task(self._run(job))
        self._running[job.job_id] = task
        task.add_done_callback(lambda _: self._running.pop(job.job_id))
        return Acceptance.ACCEPTED

    async def finish(self, grace: float) -> None:
        """Wait up to `grace` seconds for the running jobs, then abandon the rest."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running.values(), timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            _log.warning("jobs abandoned", count=len(late))

    def _forget_old(self) -> None:
        """Drop expired ids; the oldest come first."""
        now = time.monotonic()
        while self._reported and next(iter(self._reported.values())) <= now:
            del self._reported[next(iter(self._reported))]

    async def _run(self, job: Job) -> None:
        structlog.contextvars.bind_contextvars(job_id=str(job.job_id))
        report = await self._report(job)
        if await self._reporter.deliver(job.webhook_url, report):
            self._reported[job.job_id] = time.monotonic() + self._settings.remembered_seconds
            _log.info("job reported")

    async def _report(self, job: Job) -> Report:
        started = time.monotonic()
        try:
            async with self._slots:
                results = await self._results(job)
        except AnalysisFailure as failure:
            _log.info("job failed", reason=failure.reason.value)
            return failure_report(failure)
        except Exception:
            _log.exception("job crashed")
            return failure_report(AnalysisFailure(Reason.ANALYSIS_CRASHED))
        seconds = round(time.monotonic() - started, 3)
        _log.info("job analysed", seconds=seconds, overall_score=results["overall_score"])
        return {"analysis_results": results, "analyzer_version": ANALYZER_VERSION}

    async def _results(self, job: Job) -> AnalysisResults:
        recording = await self._recording(job)
        reference = await self._reference(job)
        settings = self._settings
        try:
            return await self._pool.call(
                settings.analysis_timeout_seconds,
                analyse,
                recording,
                reference,
                job.token.scripts,
                settings.max_audio_seconds,
            )
        except (TimeoutError, BrokenProcessPool) as error:
            _log.error("worker lost", error=type(error).__name__)
            raise AnalysisFailure(Reason.ANALYSIS_CRASHED) from error

    async def _recording(self, job: Job) -> bytes:
        try:
            return await self._fetcher.fetch(job.audio_url)
        except TooLarge as error:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG) from error
        except Unavailable as error:
            _log.warning("recording unavailable", error=str(error))
            raise AnalysisFailure(Reason.AUDIO_UNAVAILABLE) from error

    async def _reference(self, job: Job) -> bytes:
        voice = job.token.reference_assets.voice
        if voice is None:
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE)
        try:
            return await self._fetcher.fetch(voice.url)
        except (TooLarge, Unavailable) as error:
            _log.warning("reference voice unavailable", error=str(error))
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE) from error
