"""An analysis server that tests control: it holds jobs, or forwards them to the real one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.local_http import serving

_PATH = "/analyze-voice"
WAIT_SECONDS = 20.0

Json = dict[str, Any]


class AnalysisServer:
    """Receives dispatches. Jobs of held tokens wait for `report`."""

    def __init__(self, origin: str) -> None:
        self.url = f"{origin}{_PATH}"
        self.real_url: str | None = None
        self._held: set[int] = set()
        self._answers: dict[int, list[tuple[int, Json | bytes]]] = {}
        self._statuses: dict[int, Json | bytes] = {}
        self._stalled: dict[int, threading.Event] = {}
        self._released: set[int] = set()
        self._jobs: dict[str, Json] = {}
        self._dispatches: dict[str, list[Json]] = {}
        self._arrived = threading.Condition()

    def routes(self) -> list[Route]:
        """The routes that receive dispatches and answer status requests."""
        return [
            Route(_PATH, self.dispatch, methods=["POST"]),
            Route(f"{_PATH}/{{job_id}}", self.status, methods=["GET"]),
        ]

    def hold(self, token_id: int) -> None:
        """Accept the jobs of this token without reporting them."""
        self._held.add(token_id)

    def answer(self, token_id: int, *answers: tuple[int, Json | bytes]) -> None:
        """Give these answers (status, body) to the next dispatches of this token, in order.

        A body of bytes is sent as it is.
        """
        self._answers[token_id] = list(answers)

    def offer_status(self, token_id: int, status: Json | bytes) -> None:
        """Offer a status URL for the jobs of this token that answers with this body.

        A body of bytes is sent as it is.
        """
        self.hold(token_id)
        self._statuses[token_id] = status

    def release(self, token_id: int) -> None:
        """Fail the jobs of this token that wait for their status, so that polling them ends."""
        self._released.add(token_id)

    def stall(self, token_id: int) -> threading.Event:
        """Answer the dispatches of this token only when the returned event is set."""
        self.hold(token_id)
        return self._stalled.setdefault(token_id, threading.Event())

    def dispatches(self, job_id: str) -> list[Json]:
        """The headers of each dispatch of a job."""
        with self._arrived:
            return list(self._dispatches.get(job_id, ()))

    def job(self, job_id: str) -> Json:
        """The body of the job's dispatch; waits for it."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: job_id in self._jobs, WAIT_SECONDS)
            return self._jobs[job_id]

    def was_dispatched(self, job_id: str) -> bool:
        """Whether the job was dispatched."""
        with self._arrived:
            return job_id in self._jobs

    def report(self, job_id: str, body: Json) -> httpx.Response:
        """Call the job's webhook."""
        return httpx.post(self.job(job_id)["webhook_url"], json=body, verify=False)

    async def dispatch(self, request: Request) -> Response:
        """The route that receives dispatches."""
        body = await request.json()
        with self._arrived:
            self._jobs[body["job_id"]] = body
            self._dispatches.setdefault(body["job_id"], []).append(dict(request.headers))
            self._arrived.notify_all()
        if stalled := self._stalled.get(body["token"]["id"]):
            await asyncio.to_thread(stalled.wait)
        if answers := self._answers.get(body["token"]["id"]):
            status, answer = answers.pop(0)
            if isinstance(answer, bytes):
                return Response(answer, status, media_type="application/json")
            return JSONResponse(answer, status)
        if body["token"]["id"] in self._statuses:
            status_url = f"{self.url}/{body['job_id']}"
            return JSONResponse({"status": "accepted", "status_url": status_url}, 202)
        if body["token"]["id"] in self._held or self.real_url is None:
            return JSONResponse({"status": "accepted"}, 202)
        async with httpx.AsyncClient(verify=False) as client:
            authorization = {"Authorization": request.headers.get("Authorization", "")}
            real = await client.post(self.real_url, json=body, headers=authorization)
        return Response(real.content, real.status_code, media_type="application/json")

    async def status(self, request: Request) -> Response:
        """The route of the status URLs."""
        token_id = self._jobs[request.path_params["job_id"]]["token"]["id"]
        if token_id in self._released:
            return JSONResponse({"status": "failed"})
        status = self._statuses[token_id]
        return Response(status) if isinstance(status, bytes) else JSONResponse(status)


def running_analysis_server(host: str) -> AbstractContextManager[AnalysisServer]:
    """An analysis server on a free port. host: an address of this machine."""
    return serving(AnalysisServer, host)
