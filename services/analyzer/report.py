"""Telling the caller how a job goes and how it ended."""

from __future__ import annotations

import json
from typing import Literal, TypedDict

import httpx
import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure
from services.analyzer.retry import Unsettled, attempts, check_settled, describe
from services.analyzer.settings import AnalyzerSettings

_log = structlog.get_logger(__name__)


class ProgressReport(TypedDict):
    """The job is under way: 0-100, and what the learner is told."""

    status: Literal["processing"]
    progress: int
    message: str


class SuccessReport(TypedDict):
    """The job has a result, computed by this version of the analysis."""

    analysis_results: AnalysisResults
    analyzer_version: str


class FailureReport(TypedDict):
    """The job has none: why, and what the learner is told."""

    status: Literal["failed"]
    reason: str
    error: str


Report = ProgressReport | SuccessReport | FailureReport

_JSON = {"Content-Type": "application/json"}


def failure_report(failure: AnalysisFailure) -> FailureReport:
    """What the webhook carries for a failure."""
    return {"status": "failed", "reason": failure.reason.value, "error": failure.sentence}


def encoded(report: Report) -> bytes:
    """The report as JSON. Raises ValueError for NaN and infinity, which JSON has not."""
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


class Reporter:
    """Posts reports to webhooks."""

    def __init__(self, client: httpx.AsyncClient, settings: AnalyzerSettings) -> None:
        self._client = client
        self._settings = settings

    async def deliver(self, url: str, report: bytes) -> bool:
        """Post the final report, repeatedly if need be; whether it was taken."""
        settings = self._settings
        retrying = attempts(
            settings.webhook_attempts, settings.backoff_seconds, settings.max_backoff_seconds
        )
        try:
            response: httpx.Response = await retrying(self._post, url, report)
        except (httpx.HTTPError, httpx.InvalidURL, Unsettled) as error:
            _log.error("report not delivered", error=describe(error))
            return False
        if not response.is_success:
            _log.error("report refused", status=response.status_code)
        return response.is_success

    async def tell(self, url: str, report: ProgressReport) -> None:
        """Post a progress report once, whatever comes of it; nothing where that is switched off."""
        if not self._settings.progress_reports:
            return
        try:
            response = await self._post_once(url, encoded(report))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log.info("progress not told", error=describe(error))
            return
        if not response.is_success:
            _log.info("progress refused", status=response.status_code)

    async def _post(self, url: str, report: bytes) -> httpx.Response:
        response = await self._post_once(url, report)
        check_settled(response)
        return response

    async def _post_once(self, url: str, report: bytes) -> httpx.Response:
        return await self._client.post(
            url, content=report, headers=_JSON, timeout=self._settings.webhook_timeout_seconds
        )
