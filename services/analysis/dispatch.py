"""Handing a job to the analysis server.

What an answer means:

| answer | outcome |
| --- | --- |
| 2xx with `analysis_results` | the job is completed |
| other 2xx | accepted: the report comes by webhook |
| 408, 425, 429, 5xx, no answer | try again, later each time |
| other statuses | refused: the job fails |
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from services.analysis.jobs import Dispatch
from services.analysis.webhook import Webhook
from services.runtime.objects import ObjectStore
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_PAUSE_SECONDS = 60.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024

_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True)
class Accepted:
    """The analysis server took the job and will report."""


@dataclass(frozen=True)
class Completed:
    """The answer carries the result, a serialized google.protobuf.Struct."""

    result: bytes


@dataclass(frozen=True)
class Refused:
    """No further attempt makes sense."""

    reason: str


@dataclass(frozen=True)
class TryAgain:
    """The attempt failed; a later one may succeed. `reason` is for the log."""

    reason: str


Outcome = Accepted | Completed | Refused | TryAgain


def pause_before(attempt: int, first_pause_seconds: float) -> timedelta:
    """How long to wait before the attempt after `attempt` (1 or more).

    Exponential backoff with full jitter: uniform between 0 and
    `first_pause_seconds` * 2^(attempt - 1), the latter at most a minute.
    """
    longest = min(MAX_PAUSE_SECONDS, first_pause_seconds * 2 ** min(attempt - 1, 16))
    return timedelta(seconds=random.uniform(0, longest))  # noqa: S311


class Dispatcher:
    """Sends jobs to the analysis server."""

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        target_url: str,
        timeout_seconds: float,
        catalog: catalog_pb2_grpc.CatalogServiceAsyncStub,
        objects: ObjectStore,
        recording_url_seconds: int,
        webhook: Webhook,
    ) -> None:
        self._client = client
        self._target_url = target_url
        self._timeout_seconds = timeout_seconds
        self._catalog = catalog
        self._objects = objects
        self._recording_url_seconds = recording_url_seconds
        self._webhook = webhook

    async def send(self, dispatch: Dispatch) -> Outcome:
        """Send one job and say what the answer means."""
        try:
            token = await self._catalog.GetToken(
                catalog_pb2.GetTokenRequest(id=dispatch.token_id, view=catalog_pb2.TOKEN_VIEW_FULL)
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return Refused("TOKEN_NOT_FOUND")
            return TryAgain(f"catalog answered {error.code().name}")
        return await self._post(dispatch.job_id, await self._body(dispatch, token))

    async def _body(self, dispatch: Dispatch, token: catalog_pb2.Token) -> dict[str, object]:
        return {
            "job_id": str(dispatch.job_id),
            "audio_url": await self._objects.presigned_url(
                dispatch.object_key, self._recording_url_seconds
            ),
            "token": json_format.MessageToDict(
                token,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            ),
            "webhook_url": self._webhook.url_for(dispatch.job_id),
        }

    async def _post(self, job_id: UUID, body: dict[str, object]) -> Outcome:
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream(
                    "POST", self._target_url, json=body, headers={"Idempotency-Key": str(job_id)}
                ) as response,
            ):
                return await _outcome(response)
        except (httpx.HTTPError, TimeoutError) as error:
            return TryAgain(type(error).__name__)


async def _outcome(response: httpx.Response) -> Outcome:
    status = response.status_code
    if response.is_success:
        return _success(await _bounded_body(response))
    if status in _RETRIED or response.is_server_error:
        return TryAgain(f"analysis server answered {status}")
    return Refused("ANALYSIS_SERVER_REFUSED")


async def _bounded_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return b""
    return bytes(body)


def _success(body: bytes) -> Accepted | Completed:
    """An answer that can't be read is an acceptance: the report may still come."""
    answer = Struct()
    try:
        json_format.Parse(body, answer)
    except json_format.ParseError:
        return Accepted()
    results = answer.fields.get("analysis_results")
    if results is None or not results.HasField("struct_value"):
        return Accepted()
    return Completed(results.struct_value.SerializeToString())
