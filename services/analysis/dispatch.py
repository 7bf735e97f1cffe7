"""Handing a job to the analysis server, and asking it about one.

What the answer to a dispatch means:

| answer | outcome |
| --- | --- |
| 2xx with `analysis_results` | the job completes |
| 2xx with `"status": "failed"` | the job fails with the reason given |
| other 2xx | accepted: the report comes by webhook, or is read at `status_url` |
| 408, 425, 429, 5xx | tried again, after `Retry-After` if it is given |
| no answer in time, or a broken connection | tried again |
| no connection | tried again, without counting as a try |
| other statuses | the job fails: ANALYSIS_SERVER_REFUSED |
"""

from __future__ import annotations

import json
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus

import grpc
import httpx
from google.protobuf import json_format

from services.analysis.jobs import Claim
from services.analysis.reports import Failure, Progress, Report, Results, report_in
from services.analysis.webhook import WebhookSigner
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_PAUSE_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 600.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_STATUS_URL_LENGTH = 2000

_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Fault(Enum):
    """Why an attempt is to be repeated."""

    OURS = auto()
    """Nothing was sent: the catalog or S3 does not answer."""
    UNREACHED = auto()
    """The analysis server was not reached, so it has not seen the job."""
    SERVERS = auto()
    """The analysis server may have seen the job."""


@dataclass(frozen=True)
class Accepted:
    """The analysis server took the job and will report; `status_url` tells meanwhile."""

    status_url: str | None


@dataclass(frozen=True)
class PermanentFailure:
    """No further attempt makes sense.

    message: for the learner; error: for the history. answered: whether the analysis
    server has said so.
    """

    reason: str
    message: str = ""
    error: str = ""
    answered: bool = True


@dataclass(frozen=True)
class TransientFailure:
    """The attempt failed, a later one may succeed; at the earliest after `pause`."""

    error: str
    fault: Fault
    pause: timedelta = timedelta(0)


Outcome = Accepted | Results | PermanentFailure | TransientFailure


def pause_before(tries: int, first_pause_seconds: float) -> timedelta:
    """How long to wait after the try numbered `tries` (1 or more) has failed.

    Exponential backoff with full jitter: uniform between 0 and
    `first_pause_seconds` * 2^(tries - 1), the latter at most a minute.
    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    longest = min(MAX_PAUSE_SECONDS, first_pause_seconds * 2 ** min(tries - 1, 16))
    return timedelta(seconds=random.uniform(0, longest))  # noqa: S311


def retry_after(header: str | None, now: datetime) -> timedelta:
    """The pause that a `Retry-After` asks for, seconds or a date; at most ten minutes."""
    seconds = 0.0
    with suppress(ValueError, TypeError):
        seconds = float(int(header or "")) if (header or "").isdigit() else _until(header, now)
    return timedelta(seconds=min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS))


def _until(header: str | None, now: datetime) -> float:
    date = parsedate_to_datetime(header or "")
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()


class AnalyzerClient:
    """The analysis server over HTTP."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        """Make a caller; `client` has the timeouts of connecting and reading."""
        self._client = client
        self._url = httpx.URL(url)

    async def post(self, job_id: str, body: bytes) -> Outcome:
        """Hand over a job."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": job_id}
        try:
            async with self._client.stream(
                "POST", self._url, content=body, headers=headers
            ) as response:
                return await self._outcome(response)
        except _NEVER_SENT as error:
            return TransientFailure(type(error).__name__, Fault.UNREACHED)
        except httpx.HTTPError as error:
            return TransientFailure(type(error).__name__, Fault.SERVERS)

    async def status(self, url: str) -> Report | None:
        """What it says of a job at its status URL; None when it says nothing."""
        try:
            async with self._client.stream("GET", url) as response:
                if not response.is_success:
                    return None
                body = await _bounded_body(response)
        except httpx.HTTPError:
            return None
        return None if body is None else await report_in(body)

    async def _outcome(self, response: httpx.Response) -> Outcome:
        status = response.status_code
        if response.is_success:
            return await self._success(await _bounded_body(response))
        error = f"answered {status}"
        if status in _RETRIED or response.is_server_error:
            pause = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            return TransientFailure(error, Fault.SERVERS, pause)
        return PermanentFailure("ANALYSIS_SERVER_REFUSED", error=error)

    async def _success(self, body: bytes | None) -> Outcome:
        """An answer that can't be read is an acceptance: the report may still come."""
        if body is None:
            return PermanentFailure(
                "RESULT_TOO_LARGE", error=f"answered more than {MAX_ANSWER_BYTES} bytes"
            )
        match await report_in(body):
            case Results() as results:
                return results
            case Failure(reason, message):
                return PermanentFailure(reason, message, error=f"answered that it failed: {reason}")
            case Progress() | None:
                return Accepted(self._status_url(body))

    def _status_url(self, body: bytes) -> str | None:
        """The status URL in an answer, if it is of the analysis server's own origin."""
        try:
            offered = json.loads(body).get("status_url")
            url = self._url.join(offered)
        except (ValueError, AttributeError, TypeError, RecursionError, httpx.InvalidURL):
            return None
        is_own = _origin(url) == _origin(self._url)
        return str(url) if is_own and len(str(url)) <= MAX_STATUS_URL_LENGTH else None


@dataclass(frozen=True)
class Prepared:
    """A job as the analysis server gets it: JSON, with the token at this revision."""

    body: bytes
    token_revision: int


class DispatchRequestBuilder:
    """Makes of a claimed job what the analysis server gets."""

    def __init__(
        self,
        catalog: catalog_pb2_grpc.CatalogServiceAsyncStub,
        objects: ObjectStore,
        webhook: WebhookSigner,
        recording_url_seconds: int,
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._webhook = webhook
        self._recording_url_seconds = recording_url_seconds

    async def prepare(self, claim: Claim) -> Prepared | PermanentFailure | TransientFailure:
        """Gather what the analysis server gets; every attempt has fresh presigned URLs."""
        try:
            token = await self._catalog.GetToken(
                catalog_pb2.GetTokenRequest(id=claim.token_id, view=catalog_pb2.TOKEN_VIEW_FULL)
            )
            audio_url = await self._objects.presigned_url(
                claim.object_key, self._recording_url_seconds
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return PermanentFailure(
                    "TOKEN_NOT_FOUND", error="the token was deleted", answered=False
                )
            return TransientFailure(f"catalog: {error.code().name}", Fault.OURS)
        except StorageUnavailable:
            return TransientFailure("the recording's URL could not be signed", Fault.OURS)
        body = {
            "job_id": str(claim.job_id),
            "audio_url": audio_url,
            "token": json_format.MessageToDict(
                token,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            ),
            "webhook_url": self._webhook.url_for(claim.job_id),
        }
        return Prepared(json.dumps(body, ensure_ascii=False).encode(), token.revision)


async def _bounded_body(response: httpx.Response) -> bytes | None:
    """The body; None when it is too large."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
