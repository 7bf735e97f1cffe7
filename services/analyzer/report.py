"""Telling the caller how a job ended."""

from __future__ import annotations

from typing import Literal, TypedDict

import httpx
import structlog

from services.analyzer.analysis import AnalysisResults
from services.analyzer.failures import AnalysisFailure
from services.analyzer.retry import Unsettled, attempts, check_settled, describe
from services.analyzer.settings import AnalyzerSettings

_log = structlog.get_logger(__name__)


class SuccessReport(TypedDict):
    """The job has a result."""

    analysis_results: AnalysisResults
    analyzer_version: str


class FailureReport(TypedDict):
    """The job has none: why, and what the learner is told."""

    status: Literal["failed"]
    reason: str
    error: str


Report = SuccessReport | FailureReport


def failure_report(failure: AnalysisFailure) -> FailureReport:
    """What the webhook carries for a failure."""
    return {"status": "failed", "reason": failure.reason.value, "error": failure.sentence}


class Reporter:
    """Posts reports to webhooks."""

    def __init__(self, client: httpx.AsyncClient, settings: AnalyzerSettings) -> None:
        self._client = client
        self._settings = settings

    async def deliver(self, url: str, report: Report) -> bool:
        """Post the report, repeatedly if need be; whether it was taken."""
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

    async def _post(self, url: str, report: Report) -> httpx.Response:
        response = await self._client.post(
            url, json=report, timeout=self._settings.webhook_timeout_seconds
        )
        check_settled(response)
        return response
