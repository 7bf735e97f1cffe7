"""The client of the analysis server: dispatches jobs and reads their status over HTTP.

| answer to a dispatch | outcome |
| --- | --- |
| 2xx with `analysis_results` | the results |
| 2xx with results that cannot be read back | a permanent failure: RESULT_UNREADABLE |
| 2xx with more than ANALYSIS_REPORT_BYTES | a permanent failure: RESULT_TOO_LARGE |
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

from services.analysis.errors import ReportMalformed, ReportTooLarge, ResultUnreadable
from services.analysis.jobs import (
    ANALYSIS_SERVER_REFUSED,
    RESULT_TOO_LARGE,
    RESULT_UNREADABLE,
)
from services.analysis.outcomes import (
    Accepted,
    Fault,
    NoReport,
    Outcome,
    PermanentFailure,
    TransientFailure,
)
from services.analysis.report_parser import ReportParser
from services.analysis.reports import Failure, Report, Results
from services.runtime.errors import InvalidField

MAX_RETRY_AFTER_SECONDS = 600.0
MAX_STATUS_URL_LENGTH = 2000

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class AnalyzerClient:
    """Calls the analysis server at one URL."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, parser: ReportParser, token: str = ""
    ) -> None:
        """Create a client of the analysis server at `url`.

        client: has the timeouts for connecting and reading. parser: limits the size of
        answers. token: the bearer token of all requests; default: none.
        """
        self._client = client
        self._url = httpx.URL(url)
        self._parser = parser
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

    async def status(self, url: str) -> Report | PermanentFailure | NoReport:
        """Read a job's status. url: the status URL that the analysis server offered."""
        try:
            async with self._client.stream("GET", url, headers=self._headers) as response:
                if not response.is_success:
                    return NoReport()
                report, _ = await self._report_in(response)
        except httpx.HTTPError:
            return NoReport()
        return report or NoReport()

    async def _outcome_of(self, response: httpx.Response) -> Outcome:
        if response.is_success:
            report, body = await self._report_in(response)
            if isinstance(report, Results | Failure | PermanentFailure):
                return report
            # An unreadable answer is an acceptance too: the report may still come.
            return Accepted(self._status_url_in(body))
        error = f"answered {response.status_code}"
        if response.status_code in _TRANSIENT or response.is_server_error:
            headers = response.headers
            pause = retry_after(headers.get("Retry-After"), headers.get("Date"))
            return TransientFailure(error, Fault.SERVERS, pause)
        return PermanentFailure(ANALYSIS_SERVER_REFUSED, error)

    async def _report_in(
        self, response: httpx.Response
    ) -> tuple[Report | PermanentFailure | None, bytes]:
        """The report in an answer, and the answer's body.

        A body without a report gives None. A body with a result that can't be stored gives
        a PermanentFailure.
        """
        body = await self._bounded_body(response)
        try:
            return await self._parser.parse(body), body
        except ReportTooLarge as error:
            return PermanentFailure(RESULT_TOO_LARGE, str(error)), body
        except ResultUnreadable as error:
            return PermanentFailure(RESULT_UNREADABLE, str(error)), body
        except (InvalidField, ReportMalformed):
            return None, body

    async def _bounded_body(self, response: httpx.Response) -> bytes:
        """The body; of a larger one than the parser accepts, only the beginning."""
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._parser.max_bytes:
                break
        return bytes(body)

    def _status_url_in(self, body: bytes) -> str | None:
        """The status URL in an answer, if it has the analysis server's own origin."""
        try:
            offered = json.loads(body).get("status_url")
            url = self._url.join(offered)
        except (ValueError, AttributeError, TypeError, RecursionError, httpx.InvalidURL):
            return None
        is_own = _origin(url) == _origin(self._url)
        return str(url) if is_own and len(str(url)) <= MAX_STATUS_URL_LENGTH else None


def retry_after(header: str | None, date_header: str | None) -> timedelta:
    """The pause that a `Retry-After` header asks for, 0 to 600 s.

    header: seconds or an HTTP date (RFC 9110, 10.2.3); anything else asks for no pause.
    date_header: the response's `Date`. A date is compared with it and not with this host's
    clock, which may differ from the server's; without it, a date asks for no pause.
    """
    seconds = 0.0
    with suppress(ValueError, TypeError):
        if (header or "").isdigit():
            seconds = float(int(header or ""))
        else:
            seconds = (_date_in(header) - _date_in(date_header)).total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS))


def _date_in(header: str | None) -> datetime:
    date = parsedate_to_datetime(header or "")
    return date.replace(tzinfo=date.tzinfo or UTC)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
