"""The HTTP API of the reference analyzer.

| call | response |
| --- | --- |
| `POST /analyze-voice` | 202 `{"job_id", "status": "accepted", "status_url"}`, then webhook calls |
| | 400 not JSON, 413 body too large, 422 invalid fields |
| | 403 a URL has an origin that is not in `ANALYZER_ALLOWED_ORIGINS` |
| | 503 queue full, with `Retry-After` |
| `GET /analyze-voice/{job_id}`, the `status_url` | 200 the current report |
| | 404 the job is unknown, or its report has expired |
| `GET /healthz` | 200 `{"status": "ok"}` |

With `ANALYZER_TOKEN`, the first two answer 403 without `Authorization: Bearer <token>`.

The reports that the webhook receives and the status returns:

| when | body |
| --- | --- |
| the job is running | `{"status": "processing", "progress", "stage", "message"}`, best effort |
| the job completed | `{"analysis_results": {...}, "analyzer_version"}` |
| the job failed | `{"status": "failed", "reason", "error"}` |

The last two are final: the webhook receives no further report. A repeated request is not
computed again while the job runs or its report is in the report cache. If the report was not
delivered, the repeated request delivers it again.

Errors are `{"error": "<what is wrong and what to do>"}`, with `fields` for invalid fields.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import TypedDict
from uuid import UUID

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.analyzer.access import is_authorized, refused_fields
from services.analyzer.fetch import Fetcher
from services.analyzer.job_runner import Acceptance, JobRunner
from services.analyzer.pool import WorkerPool
from services.analyzer.report import Reporter
from services.analyzer.request import AnalysisRequest
from services.analyzer.settings import AnalyzerSettings
from services.analyzer.worker import prepare

_CONNECT_SECONDS = 5.0


class State(TypedDict):
    """The state that all requests share."""

    jobs: JobRunner
    settings: AnalyzerSettings


def application(settings: AnalyzerSettings) -> Starlette:
    """The ASGI application. Its lifespan starts and stops the worker processes."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        prepared = partial(prepare, settings.worker_memory_bytes)
        pool = WorkerPool(settings.workers, prepared, settings.jobs_per_worker)
        timeout = httpx.Timeout(settings.download_timeout_seconds, connect=_CONNECT_SECONDS)
        async with httpx.AsyncClient(timeout=timeout) as client, pool.running():
            jobs = JobRunner(settings, pool, Fetcher(client, settings), Reporter(client, settings))
            yield {"jobs": jobs, "settings": settings}
            await jobs.finish(settings.shutdown_grace_seconds)

    return Starlette(
        routes=[
            Route("/analyze-voice", analyze_voice, methods=["POST"]),
            Route("/analyze-voice/{job_id:uuid}", status, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ValidationError: _invalid_fields,
            Exception: _internal_error,
        },
        lifespan=lifespan,
    )


async def analyze_voice(request: Request) -> Response:
    """Accept a job, unless it is running or recent."""
    _authorize(request)
    analysis_request = AnalysisRequest.model_validate(await _json_body(request))
    job_id = str(analysis_request.job_id)
    key = request.headers.get("Idempotency-Key", job_id)
    if key.lower() != job_id:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key must equal the job_id in the body."
        )
    if refused := refused_fields(analysis_request, request.state.settings.origins):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            f"The analyzer may not call the servers in {', '.join(refused)}. "
            "Add their origins to ANALYZER_ALLOWED_ORIGINS.",
        )
    status_url = _status_url(request, analysis_request.job_id)
    if request.state.jobs.accept(analysis_request) is Acceptance.QUEUE_FULL:
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Too many jobs are running. Send this one again later.",
            {"Retry-After": str(request.state.settings.retry_after_seconds)},
        )
    return JSONResponse(
        {"job_id": job_id, "status": "accepted", "status_url": status_url},
        HTTPStatus.ACCEPTED,
    )


async def status(request: Request) -> Response:
    """The current report of a job."""
    _authorize(request)
    report = request.state.jobs.status(request.path_params["job_id"])
    if report is None:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            "This job is unknown, or its report has expired. Send it to /analyze-voice again.",
        )
    return Response(report, media_type="application/json")


async def healthz(_: Request) -> Response:
    """Whether the server is running."""
    return JSONResponse({"status": "ok"})


def _authorize(request: Request) -> None:
    token = request.state.settings.token.get_secret_value()
    if not is_authorized(request.headers.get("Authorization"), token):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "The token is missing or wrong. Send ANALYZER_TOKEN as Authorization: Bearer <token>.",
        )


def _status_url(request: Request, job_id: UUID) -> str:
    # Not from the Host header, which the caller chooses.
    path = request.app.url_path_for("status", job_id=job_id)
    return f"{request.state.settings.public_url.rstrip('/')}{path}"


async def _json_body(request: Request) -> object:
    body = await _bounded_body(request)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "The body is not JSON. Send one JSON object."
        ) from error


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > request.state.settings.max_body_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large. Send a smaller token."
            )
    return bytes(body)


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _invalid_fields(_: Request, error: Exception) -> Response:
    if not isinstance(error, ValidationError):
        raise error
    # Without the input, because it contains signed URLs.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        {"field": ".".join(map(str, problem["loc"])), "problem": problem["msg"]}
        for problem in problems
    ]
    return JSONResponse(
        {"error": "Some fields are missing or invalid. Correct them.", "fields": fields},
        HTTPStatus.UNPROCESSABLE_ENTITY,
    )


async def _internal_error(_: Request, __: Exception) -> Response:
    """Starlette logs the traceback. The response contains nothing internal."""
    return JSONResponse(
        {"error": "The server failed. Send the request again later."},
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
