"""A fake analysis server that misbehaves: `python -m tests.chaos.analysis_server --port 1 ...`.

The seed, the job and the number of its dispatch decide how the server behaves, so that
a run can be repeated. The server writes each dispatch to its journal before it answers,
because tests kill it too. The result of a recording is its SHA-256, so that a test
notices the result of another job.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.chaos.journal import Journal

Json = dict[str, Any]
Behaviour = Callable[["MisbehavingServer", Json], Awaitable[Response]]

HANG_SECONDS = 60.0
PAUSE_SECONDS = 0.25
LATE_SECONDS = 4.0
LARGE = "x" * 5 * 1024 * 1024
DISORDER = {"status": "processing", "progress": 80}
FAILURE = {"status": "failed", "reason": "ANALYSIS_FAILED", "error": "too late"}


class MisbehavingServer:
    """The server and the dispatches it has received."""

    def __init__(self, seed: int, journal: Journal, only: str | None, client: httpx.AsyncClient):
        self._seed = seed
        self._journal = journal
        self._only = only
        self._client = client
        self._seen: Counter[str] = Counter(
            entry["job_id"] for entry in journal.read() if entry["kind"] == "dispatch"
        )
        self._jobs: dict[str, Json] = {}
        self._later: set[asyncio.Task[None]] = set()

    async def dispatch(self, request: Request) -> Response:
        """The route that receives dispatches."""
        job: Json = await request.json()
        job_id = job["job_id"]
        self._seen[job_id] += 1
        self._jobs[job_id] = job
        behaviour = self._behaviour_for(job_id)
        self._journal.write(kind="dispatch", job_id=job_id, behaviour=behaviour)
        return await BEHAVIOURS[behaviour](self, job)

    async def status(self, request: Request) -> Response:
        """The route of the status URLs."""
        job = self._jobs.get(request.path_params["job_id"])
        if job is None:
            return JSONResponse({}, 404)
        return JSONResponse(await self.results(job))

    async def results(self, job: Json) -> Json:
        """The correct results of a job."""
        recording = await self._client.get(job["audio_url"])
        recording.raise_for_status()
        return {"analysis_results": {"sha256": hashlib.sha256(recording.content).hexdigest()}}

    async def results_with_retries(self, job: Json) -> Json:
        """The correct results; retries until the recording can be read."""
        while True:
            try:
                return await self.results(job)
            except httpx.HTTPError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def call(self, job: Json, body: Json, url: str | None = None) -> None:
        """Call the webhook; retries until it answers without a server error."""
        for _ in range(60):
            try:
                answer = await self._client.post(url or job["webhook_url"], json=body)
            except httpx.HTTPError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code < 500:
                effect = answer.json().get("effect", answer.status_code)
                self._journal.write(kind="callback", job_id=job["job_id"], effect=effect)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def later(self, *steps: Callable[[], Awaitable[None]], after: float = 0.0) -> JSONResponse:
        """Accept the dispatch, then run the steps in order after `after` seconds."""

        async def run() -> None:
            await asyncio.sleep(after)
            for step in steps:
                await step()

        def begin() -> None:
            task = asyncio.create_task(run())
            self._later.add(task)
            task.add_done_callback(self._later.discard)

        async def begin_after_answer() -> None:
            begin()

        accepted = {"status": "accepted"}
        return JSONResponse(accepted, 202, background=BackgroundTask(begin_after_answer))

    def report(self, job: Json, extra: Json | None = None) -> Callable[[], Awaitable[None]]:
        """A step that reports the correct results."""

        async def step() -> None:
            results = await self.results_with_retries(job)
            results["analysis_results"] |= extra or {}
            await self.call(job, results)

        return step

    def send(self, job: Json, body: Json, url: str | None = None) -> Callable[[], Awaitable[None]]:
        """A step that sends a body to the webhook, or to another URL."""

        async def step() -> None:
            await self.call(job, body, url)

        return step

    def _behaviour_for(self, job_id: str) -> str:
        if self._only is not None:
            return self._only
        generator = random.Random(f"{self._seed}:{job_id}:{self._seen[job_id]}")
        return generator.choices(list(BEHAVIOURS), list(WEIGHTS.values()))[0]


async def answers(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse(await server.results(job))


async def accepts(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.report(job))


async def refuses(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse({}, 400)


async def is_busy(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse({}, 429, {"Retry-After": "1"})


async def breaks(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse({}, 500)


async def is_unavailable(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse({}, 503)


async def hangs(server: MisbehavingServer, job: Json) -> Response:
    await asyncio.sleep(HANG_SECONDS)
    return JSONResponse({}, 202)


async def drops(server: MisbehavingServer, job: Json) -> Response:
    async def interrupted() -> AsyncIterator[bytes]:
        yield b"{"
        raise ConnectionError

    return StreamingResponse(interrupted())


async def answers_garbage(server: MisbehavingServer, job: Json) -> Response:
    return Response(b"\xff<html>", media_type="text/html")


async def is_silent(server: MisbehavingServer, job: Json) -> Response:
    return server.later()


async def reports_twice(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.report(job), server.report(job))


async def reports_late(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.report(job), after=LATE_SECONDS)


async def reports_before_answering(server: MisbehavingServer, job: Json) -> Response:
    await server.report(job)()
    return server.later()


async def forges(server: MisbehavingServer, job: Json) -> Response:
    forged_url = job["webhook_url"][:-4] + "AAAA"
    result = {"analysis_results": {"sha256": "forged"}}
    return server.later(server.send(job, result, forged_url), server.report(job))


async def reports_in_disorder(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.report(job), server.send(job, DISORDER), server.send(job, FAILURE))


async def reports_progress(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.send(job, DISORDER), server.report(job))


async def reports_a_large_result(server: MisbehavingServer, job: Json) -> Response:
    return server.later(server.report(job, {"large": LARGE}))


async def offers_status(server: MisbehavingServer, job: Json) -> Response:
    return JSONResponse({"status_url": f"/analyze-voice/{job['job_id']}"}, 202)


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        answers,
        accepts,
        refuses,
        is_busy,
        breaks,
        is_unavailable,
        hangs,
        drops,
        answers_garbage,
        is_silent,
        reports_twice,
        reports_late,
        reports_before_answering,
        forges,
        reports_in_disorder,
        reports_progress,
        reports_a_large_result,
        offers_status,
    )
}
# The server behaves well often enough for most jobs to complete.
WEIGHTS = dict.fromkeys(BEHAVIOURS, 1.0) | {"answers": 3.0, "accepts": 6.0, "refuses": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=BEHAVIOURS)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments))


async def serve(arguments: argparse.Namespace) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        server = MisbehavingServer(
            arguments.seed, Journal(arguments.journal), arguments.only, client
        )
        routes = [
            Route("/analyze-voice", server.dispatch, methods=["POST"]),
            Route("/analyze-voice/{job_id}", server.status, methods=["GET"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host=arguments.host,
            port=arguments.port,
            log_level="critical",
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    main()
