"""The client of the analysis server: dispatches jobs and reads their status over HTTP.

| answer to a dispatch | outcome |
| --- | --- |
| 2xx with `analysis_results` | the results |
| 2xx with `"status": "failed"` | a failure with the reason given |
| any other 2xx | accepted: a report follows by webhook, or at `status_url` |
| 408, 425, 429, 5xx | a transient failure, with the pause that `Retry-After` asks for |
| no answer in time, or a broken connection | a transient failure |
| no connection | a transient failure that the analysis server has not noticed |
| any other status | a permanent failure: ANALYSIS_SERVER_REFUSED |
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from services.analysis.jobs import ANALYSIS_SERVER_REFUSED, RESULT_TOO_LARGE
from services.analysis.outcomes import (
    Accepted,
    Fault,
    NoReport,
    Outcome,
    PermanentFailure,
    TransientFailure,
)
from services.analysis.report_parser import report_in
from services.analysis.reports import Failure, Progress, Report, Results

MAX_RETRY_AFTER_SECONDS = 600.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_STATUS_URL_LENGTH = 2000

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class AnalyzerClient:
    """Calls the analysis server at one URL."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str = "") -> None:
        """Create a client of the analysis server at `url`.

        client: has the timeouts for connecting and reading. token: the bearer token of all
        requests; default: none.
        """
        self._client = client
        self._url = httpx.URL(url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def dispatch(self, job_id: str, body: bytes) -> Outcome:
        """Send a job. body: JSON, built by `DispatchRequestBuilder`."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": job_id,
            **self._headers,
        }
        try:
            async with self._client.stream(
                "POST", self._url, content=body, headers=headers
            ) as response:
                return await self._outcome_of(response)
        except _NEVER_SENT as error:
            return TransientFailure(type(error).__name__, Fault.UNREACHED)
        except httpx.HTTPError as error:
            return TransientFailure(type(error).__name__, Fault.SERVERS)

    async def status(self, url: str) -> Report | NoReport:
        """Read a job's status. url: the status URL that the analysis server offered."""
        try:
            async with self._client.stream("GET", url, headers=self._headers) as response:
                if not response.is_success:
                    return NoReport()
                body = await _bounded_body(response)
        except httpx.HTTPError:
            return NoReport()
        report = None if body is None else await report_in(body)
        return NoReport() if report is None else report

    async def _outcome_of(self, response: httpx.Response) -> Outcome:
        if response.is_success:
            return await self._outcome_in(await _bounded_body(response))
        error = f"answered {response.status_code}"
        if response.status_code in _TRANSIENT or response.is_server_error:
            pause = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            return TransientFailure(error, Fault.SERVERS, pause)
        return PermanentFailure(ANALYSIS_SERVER_REFUSED, error)

    async def _outcome_in(self, body: bytes | None) -> Outcome:
        if body is None:
            error = f"answered more than {MAX_ANSWER_BYTES} bytes"
            return PermanentFailure(RESULT_TOO_LARGE, error)
        match await report_in(body):
            case Results() | Failure() as report:
                return report
            case Progress() | None:
                # An unreadable answer is an acceptance too: the report may still come.
                return Accepted(self._status_url_in(body))

    def _status_url_in(self, body: bytes) -> str | None:
        """The status URL in an answer, if it has the analysis server's own origin."""
        try:
            offered = json.loads(body).get("status_url")
            url = self._url.join(offered)
        except (ValueError, AttributeError, TypeError, RecursionError, httpx.InvalidURL):
            return None
        is_own = _origin(url) == _origin(self._url)
        return str(url) if is_own and len(str(url)) <= MAX_STATUS_URL_LENGTH else None


def retry_after(header: str | None, now: datetime) -> timedelta:
    """The pause that a `Retry-After` header asks for, 0 to 600 s.

    header: seconds or an HTTP date (RFC 9110, 10.2.3); anything else asks for no pause.
    """
    seconds = 0.0
    with suppress(ValueError, TypeError):
        seconds = float(int(header or "")) if (header or "").isdigit() else _until(header, now)
    return timedelta(seconds=min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS))


def _until(header: str | None, now: datetime) -> float:
    date = parsedate_to_datetime(header or "")
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()


async def _bounded_body(response: httpx.Response) -> bytes | None:
    """The body; None when it exceeds MAX_ANSWER_BYTES."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
