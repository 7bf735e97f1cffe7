"""The HTTP surface.

| call | answer |
| --- | --- |
| `POST /analyze-voice` | 202 `{"job_id", "status": "accepted", "status_url"}`, then webhook calls |
| | 400 no JSON, 413 body too large, 422 bad fields, 503 no room, with `Retry-After` |
| `GET /analyze-voice/{job_id}`, the `status_url` | 200 what the webhook would be told now |
| | 404 no such job, or it ended too long ago |
| `GET /healthz` | 200 `{"status": "ok"}` |

What the webhook is told, and a status says:

| when | body |
| --- | --- |
| the job runs | `{"status": "processing", "progress": 0-100, "message"}`, best effort |
| it has a result | `{"analysis_results": {...}, "analyzer_version"}` |
| it has none | `{"status": "failed", "reason", "error"}` |

After one of the last two the webhook is told nothing more. A job that is sent again
is not computed again while it runs or is remembered; a report that could not be
delivered is delivered again then.

Errors are `{"error": "<what is wrong and what to do>"}`, with `fields` for bad fields.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
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

from services.analyzer.fetch import Fetcher
from services.analyzer.job_runner import Acceptance, JobRunner
from services.analyzer.pool import WorkerPool
from services.analyzer.report import Reporter
from services.analyzer.request import AnalysisRequest
from services.analyzer.settings import AnalyzerSettings
from services.analyzer.worker import prepare

_CONNECT_SECONDS = 5.0


class State(TypedDict):
    """What requests share."""

    jobs: JobRunner
    settings: AnalyzerSettings


def application(settings: AnalyzerSettings) -> Starlette:
    """The server; its workers run while its lifespan does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        pool = WorkerPool(settings.workers, prepare, settings.jobs_per_worker)
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
            ValidationError: _bad_fields,
            Exception: _crash,
        },
        lifespan=lifespan,
    )


async def analyze_voice(request: Request) -> Response:
    """Accept a job; a job_id that is running or remembered is not run again."""
    job = AnalysisRequest.model_validate(await _json_body(request))
    key = request.headers.get("Idempotency-Key", str(job.job_id))
    if key.lower() != str(job.job_id):
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key must be the job_id of the body."
        )
    status_url = _status_url(request, job.job_id)
    if request.state.jobs.accept(job) is Acceptance.NO_ROOM:
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Too many jobs are running. Send this one again later.",
            {"Retry-After": str(request.state.settings.retry_after_seconds)},
        )
    return JSONResponse(
        {"job_id": str(job.job_id), "status": "accepted", "status_url": status_url},
        HTTPStatus.ACCEPTED,
    )


async def status(request: Request) -> Response:
    """What the webhook would be told now."""
    report = request.state.jobs.status(request.path_params["job_id"])
    if report is None:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            "No such job is known, or it ended too long ago. Send it to /analyze-voice again.",
        )
    return Response(report, media_type="application/json")


async def healthz(_: Request) -> Response:
    """The server runs."""
    return JSONResponse({"status": "ok"})


def _status_url(request: Request, job_id: UUID) -> str:
    path = request.app.url_path_for("status", job_id=job_id)
    base = request.state.settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{path}"


async def _json_body(request: Request) -> object:
    body = await _bounded_body(request)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "The body is no JSON. Send one JSON object."
        ) from error


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > request.state.settings.max_body_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large. Send a smaller token."
            )
    return bytes(body)


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _bad_fields(_: Request, error: Exception) -> Response:
    if not isinstance(error, ValidationError):
        raise error
    # Without the input: it holds signed URLs.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        {"field": ".".join(map(str, problem["loc"])), "problem": problem["msg"]}
        for problem in problems
    ]
    return JSONResponse(
        {"error": "Some fields are missing or wrong. Correct them.", "fields": fields},
        HTTPStatus.UNPROCESSABLE_ENTITY,
    )


async def _crash(_: Request, __: Exception) -> Response:
    """Starlette logs the trace; the caller learns nothing internal."""
    return JSONResponse(
        {"error": "The server failed. Send the request again later."},
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
