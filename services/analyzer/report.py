"""Reports: what the analyzer sends to the webhook of a job."""

from __future__ import annotations

import json
from typing import Literal, TypedDict

import httpx
import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure
from services.analyzer.retry import TransientError, describe, raise_for_transient, retrying
from services.analyzer.settings import AnalyzerSettings

_log = structlog.get_logger(__name__)


class ProgressReport(TypedDict):
    """The job is running. `progress` is 0-100, `stage` a code, `message` an English sentence."""

    status: Literal["processing"]
    progress: int
    stage: str
    message: str


class SuccessReport(TypedDict):
    """The job completed. `analyzer_version` is the version that computed the results."""

    analysis_results: AnalysisResults
    analyzer_version: str


class FailureReport(TypedDict):
    """The job failed. `reason` is for programs, `error` is an English sentence."""

    status: Literal["failed"]
    reason: str
    error: str


Report = ProgressReport | SuccessReport | FailureReport

_JSON = {"Content-Type": "application/json"}


def failure_report(failure: AnalysisFailure) -> FailureReport:
    """The report of a failure."""
    return {"status": "failed", "reason": failure.reason.value, "error": failure.message}


def encode(report: Report) -> bytes:
    """The report as JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


class Reporter:
    """Posts reports to webhooks."""

    def __init__(self, client: httpx.AsyncClient, settings: AnalyzerSettings) -> None:
        self._client = client
        self._settings = settings

    async def deliver(self, url: str, report: bytes) -> bool:
        """Post the final report, with retries. Returns whether the webhook accepted it."""
        settings = self._settings
        retry = retrying(
            settings.webhook_attempts, settings.backoff_seconds, settings.max_backoff_seconds
        )
        try:
            response: httpx.Response = await retry(self._post_or_raise, url, report)
        except (httpx.HTTPError, httpx.InvalidURL, TransientError) as error:
            _log.error("report not delivered", error=describe(error))
            return False
        if not response.is_success:
            _log.error("report refused", status=response.status_code)
        return response.is_success

    async def send_progress(self, url: str, report: ProgressReport) -> None:
        """Post a progress report once and ignore failures, unless the settings disable it."""
        if not self._settings.progress_reports:
            return
        try:
            response = await self._post(url, encode(report))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log.info("progress not delivered", error=describe(error))
            return
        if not response.is_success:
            _log.info("progress refused", status=response.status_code)

    async def _post_or_raise(self, url: str, report: bytes) -> httpx.Response:
        response = await self._post(url, report)
        raise_for_transient(response)
        return response

    async def _post(self, url: str, report: bytes) -> httpx.Response:
        return await self._client.post(
            url, content=report, headers=_JSON, timeout=self._settings.webhook_timeout_seconds
        )
