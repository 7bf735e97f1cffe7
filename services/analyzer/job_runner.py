"""Runs jobs: fetches their files, analyses them and reports the outcome."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from uuid import UUID

import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.fetch import Fetcher, TooLarge, Unavailable
from services.analyzer.pool import WorkerDied, WorkerPool, WorkerUnavailable
from services.analyzer.progress import Progress, Stage
from services.analyzer.report import Reporter, encode, failure_report
from services.analyzer.report_cache import ReportCache
from services.analyzer.request import AnalysisRequest
from services.analyzer.score import ANALYZER_VERSION
from services.analyzer.settings import AnalyzerSettings
from services.analyzer.worker import analyse

# While some jobs compute, others fetch their files. More slots would only use more memory.
_SLOTS_PER_WORKER = 2

_log = structlog.get_logger(__name__)


class Acceptance(Enum):
    """How the runner answered an analysis request."""

    ACCEPTED = auto()
    REPEATED = auto()
    QUEUE_FULL = auto()


@dataclass
class _Run:
    """A running job: its progress, and its final report once it exists."""

    request: AnalysisRequest
    progress: Progress
    report: bytes | None

    @property
    def status(self) -> bytes:
        return self.report or encode(self.progress.stage.report)


class JobRunner:
    """Runs the jobs of this process and answers requests about running and recent jobs."""

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
        self._reports = ReportCache(
            settings.remembered_seconds, settings.remembered_reports, settings.remembered_bytes
        )

    def accept(self, request: AnalysisRequest) -> Acceptance:
        """Start a job, unless it is running or recent, or the queue is full.

        If the report of a recent job was not delivered, delivers it again, to the webhook of
        this request.
        """
        if request.job_id in self._running:
            return Acceptance.REPEATED
        if undelivered := self._reports.pop_undelivered(request.job_id):
            self._start(request, undelivered)
            return Acceptance.REPEATED
        if self._reports.get(request.job_id):
            return Acceptance.REPEATED
        if len(self._running) >= self._settings.max_queued:
            return Acceptance.QUEUE_FULL
        self._start(request)
        return Acceptance.ACCEPTED

    def status(self, job_id: UUID) -> bytes | None:
        """The current report of a job as JSON; None if the job is unknown."""
        run = self._running.get(job_id)
        return run.status if run else self._reports.get(job_id)

    async def finish(self, grace_seconds: float) -> None:
        """Wait up to `grace_seconds` for the running jobs, then abandon the others."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            _log.warning("jobs abandoned", count=len(late))

    def _start(self, request: AnalysisRequest, report: bytes | None = None) -> None:
        progress = Progress(partial(self._reporter.send_progress, request.webhook_url))
        run = _Run(request, progress, report)
        self._running[request.job_id] = run
        task = asyncio.create_task(self._run(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: _Run) -> None:
        job_id = run.request.job_id
        structlog.contextvars.bind_contextvars(job_id=str(job_id))
        delivered = False
        try:
            run.report = run.report or await self._report(run)
            delivered = await self._reporter.deliver(run.request.webhook_url, run.report)
        finally:
            del self._running[job_id]
            # Even if the delivery was cancelled: no other copy of the report exists.
            if run.report:
                self._reports.put(job_id, run.report, delivered=delivered)
        if delivered:
            _log.info("job reported")

    async def _report(self, run: _Run) -> bytes:
        """The final report. No progress report is sent after it."""
        try:
            return await self._outcome(run)
        except AnalysisFailure as failure:
            _log.info("job failed", reason=failure.reason.value)
            return encode(failure_report(failure))
        except Exception:
            _log.exception("job crashed")
            return encode(failure_report(AnalysisFailure(Reason.ANALYSIS_CRASHED)))
        finally:
            await run.progress.stop()

    async def _outcome(self, run: _Run) -> bytes:
        started = time.monotonic()
        async with self._slots:
            results = await self._results(run.request, run.progress)
        seconds = round(time.monotonic() - started, 3)
        _log.info("job analysed", seconds=seconds, overall_score=results["overall_score"])
        return encode({"analysis_results": results, "analyzer_version": ANALYZER_VERSION})

    async def _results(self, request: AnalysisRequest, progress: Progress) -> AnalysisResults:
        recording = await self._recording(request)
        reference = await self._reference(request)
        progress.reach(Stage.RECORDING_FETCHED)
        settings = self._settings
        try:
            return await self._pool.call(
                settings.analysis_timeout_seconds,
                analyse,
                recording,
                reference,
                request.token.scripts,
                settings.max_audio_seconds,
                on_begin=partial(progress.reach, Stage.ANALYSING),
            )
        except WorkerDied as error:
            _log.error("worker died", detail=str(error))
            raise AnalysisFailure(Reason.WORKER_DIED) from error
        except (TimeoutError, WorkerUnavailable) as error:
            _log.error("worker lost", error=type(error).__name__, detail=str(error))
            raise AnalysisFailure(Reason.ANALYSIS_CRASHED) from error

    async def _recording(self, request: AnalysisRequest) -> bytes:
        try:
            return await self._fetcher.fetch(request.audio_url)
        except TooLarge as error:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG) from error
        except Unavailable as error:
            _log.warning("recording unavailable", error=str(error))
            raise AnalysisFailure(Reason.AUDIO_UNAVAILABLE) from error

    async def _reference(self, request: AnalysisRequest) -> bytes:
        voice = request.token.reference_assets.voice
        if voice is None:
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE)
        try:
            return await self._fetcher.fetch(voice.url)
        except (TooLarge, Unavailable) as error:
            _log.warning("reference voice unavailable", error=str(error))
            raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE) from error
