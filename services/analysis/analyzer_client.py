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
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

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
KEEP_ALIVE_SECONDS = 4.0
"""Many servers close a connection that was idle for 5 s, perhaps while a request is sent."""

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_FAILED = (aiohttp.ClientError, TimeoutError)


class AnalyzerClient:
    """Calls the analysis server at one URL."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, parser: ReportParser, token: str = ""
    ) -> None:
        """Create a client of the analysis server at `url`.

        http: see `open_http`. parser: limits the size of answers. token: the bearer token of
        all requests; default: none.
        """
        self._http = http
        # A request has one kind of credentials.
        self._url = URL(url).with_user(None) if token else URL(url)
        self._parser = parser
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._dispatch_headers = {"Content-Type": "application/json", **self._headers}

    async def dispatch(self, job_id: str, body: bytes) -> Outcome:
        """Send a job. body: JSON, built by `DispatchRequestBuilder`."""
        headers = {**self._dispatch_headers, "Idempotency-Key": job_id}
        try:
            async with self._http.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return await self._outcome_of(response)
        except _NEVER_SENT as error:
            return TransientFailure(type(error).__name__, Fault.UNREACHED)
        except _FAILED as error:
            return TransientFailure(type(error).__name__, Fault.SERVERS)

    async def status(self, url: str) -> Report | PermanentFailure | NoReport:
        """Read a job's status. url: the status URL that the analysis server offered."""
        try:
            async with self._http.get(
                url, headers=self._headers, allow_redirects=False
            ) as response:
                if not _is_success(response):
                    return NoReport()
                report, _ = await self._report_in(response)
        except (*_FAILED, ValueError):
            return NoReport()
        return report or NoReport()

    async def _outcome_of(self, response: aiohttp.ClientResponse) -> Outcome:
        if _is_success(response):
            report, body = await self._report_in(response)
            if isinstance(report, Results | Failure | PermanentFailure):
                return report
            # An unreadable answer is an acceptance too: the report may still come.
            return Accepted(self._status_url_in(body))
        error = f"answered {response.status}"
        if response.status in _TRANSIENT or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            headers = response.headers
            pause = retry_after(headers.get("Retry-After"), headers.get("Date"))
            return TransientFailure(error, Fault.SERVERS, pause)
        return PermanentFailure(ANALYSIS_SERVER_REFUSED, error)

    async def _report_in(
        self, response: aiohttp.ClientResponse
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

    async def _bounded_body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body; of a larger one than the parser accepts, only the beginning."""
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._parser.max_bytes:
                break
        return bytes(body)

    def _status_url_in(self, body: bytes) -> str | None:
        """The status URL in an answer, if it has the analysis server's own origin."""
        try:
            url = self._url.join(URL(json.loads(body).get("status_url")))
            is_own = url.origin() == self._url.origin()
        except (ValueError, AttributeError, TypeError, RecursionError):
            return None
        has_own_user = (url.user, url.password) == (self._url.user, self._url.password)
        is_short = len(str(url)) <= MAX_STATUS_URL_LENGTH
        return str(url) if is_own and has_own_user and is_short else None


def open_http(
    url: str, *, timeout_seconds: float, connect_timeout_seconds: float, connections: int
) -> aiohttp.ClientSession:
    """The connections to the analysis server at `url`; to be closed by the caller.

    timeout_seconds: for each pause of an answer. connect_timeout_seconds: for each connection.
    connections: how many there are at most; idle ones are closed after KEEP_ALIVE_SECONDS.
    Proxies are those of the environment.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout_seconds, sock_read=timeout_seconds
        ),
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy_for(URL(url)),
    )


def _proxy_for(url: URL) -> str | None:
    # aiohttp's own `trust_env` looks into files, in a thread, before every request.
    if url.host is None or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES


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
