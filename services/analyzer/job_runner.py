"""Jobs: accepted, run, reported, remembered."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from uuid import UUID

import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.fetch import Fetcher, TooLarge, Unavailable
from services.analyzer.pool import WorkerPool
from services.analyzer.progress import Progress, Stage
from services.analyzer.report import Reporter, encoded, failure_report
from services.analyzer.report_cache import ReportCache
from services.analyzer.request import AnalysisRequest
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


@dataclass
class _Run:
    """A job under way: how far it is, and its report once there is one."""

    job: AnalysisRequest
    progress: Progress
    report: bytes | None

    @property
    def status(self) -> bytes:
        return self.report or encoded(self.progress.stage.report)


class JobRunner:
    """The jobs of this process. A job is known by its id, running or lately ended."""

    def __init__(
        self, settings: AnalyzerSettings, pool: WorkerPool, fetcher: Fetcher, reporter: Reporter
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._fetcher = fetcher
        self._reporter = reporter
        self._slots = asyncio.Semaphore(settings.workers * _SLOTS_PER_WORKER)
        self._running: dict[UUID, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = ReportCache(
            settings.remembered_seconds, settings.remembered_reports, settings.remembered_bytes
        )

    def accept(self, job: AnalysisRequest) -> Acceptance:
        """Start the job, unless it is known or too many are running.

        The report of a known job that could not be delivered is delivered again,
        to the webhook given now.
        """
        if job.job_id in self._running:
            return Acceptance.REPEATED
        if undelivered := self._ended.take_undelivered(job.job_id):
            self._start(job, undelivered)
            return Acceptance.REPEATED
        if self._ended.report(job.job_id):
            return Acceptance.REPEATED
        if len(self._running) >= self._settings.max_queued:
            return Acceptance.NO_ROOM
        self._start(job)
        return Acceptance.ACCEPTED

    def status(self, job_id: UUID) -> bytes | None:
        """What the webhook would be told now, as JSON; None for an unknown job."""
        run = self._running.get(job_id)
        return run.status if run else self._ended.report(job_id)

    async def finish(self, grace: float) -> None:
        """Wait up to `grace` seconds for the running jobs, then abandon the rest."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            _log.warning("jobs abandoned", count=len(late))

    def _start(self, job: AnalysisRequest, report: bytes | None = None) -> None:
        run = _Run(job, Progress(partial(self._reporter.tell, job.webhook_url)), report)
        self._running[job.job_id] = run
        task = asyncio.create_task(self._run(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: _Run) -> None:
        job_id = run.job.job_id
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        delivered = False
        try:
            run.report = run.report or await self._report(run)
            delivered = await self._reporter.deliver(run.job.webhook_url, run.report)
        finally:
            del self._running[job_id]
            # However delivery ended: the report is nowhere else.
            if run.report:
                self._ended.remember(job_id, run.report, delivered=delivered)
        if delivered:
            _log.info("job reported")

    async def _report(self, run: _Run) -> bytes:
        """The final report; with it, progress is told no more."""
        try:
            return await self._outcome(run)
        except AnalysisFailure as failure:
            _log.info("job failed", reason=failure.reason.value)
            return encoded(failure_report(failure))
        except Exception:
            _log.exception("job crashed")
            return encoded(failure_report(AnalysisFailure(Reason.ANALYSIS_CRASHED)))
        finally:
            await run.progress.stop()

    async def _outcome(self, run: _Run) -> bytes:
        started = time.monotonic()
        async with self._slots:
            results = await self._results(run.job, run.progress)
        seconds = round(time.monotonic() - started, 3)
        _log.info("job analysed", seconds=seconds, overall_score=results["overall_score"])
        return encoded({"analysis_results": results, "analyzer_version": ANALYZER_VERSION})

    async def _results(self, job: AnalysisRequest, progress: Progress) -> AnalysisResults:
        recording = await self._recording(job)
        reference = await self._reference(job)
        progress.reach(Stage.FETCHED)
        settings = self._settings
        try:
            return await self._pool.call(
                settings.analysis_timeout_seconds,
                analyse,
                recording,
                reference,
                job.token.scripts,
                settings.max_audio_seconds,
                on_begin=partial(progress.reach, Stage.ANALYSING),
            )
        except (TimeoutError, BrokenProcessPool) as error:
            _log.error("worker lost", error=type(error).__name__)
            raise AnalysisFailure(Reason.ANALYSIS_CRASHED) from error

    async def _recording(self, job: AnalysisRequest) -> bytes:
        try:
            return await self._fetcher.fetch(job.audio_url)
        except TooLarge as error:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG) from error
        except Unavailable as error:
            _log.warning("recording unavailable", error=str(error))
            raise AnalysisFailure(Reason.AUDIO_UNAVAILABLE) from error

    async def _reference(self, job: AnalysisRequest) -> bytes:
        voice = job.token.reference_assets.voice
        if voice is None:
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE)
        try:
            return await self._fetcher.fetch(voice.url)
        except (TooLarge, Unavailable) as error:
            _log.warning("reference voice unavailable", error=str(error))
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE) from error
