"""An analysis server that forwards to the reference analyzer, or answers as an attack wants."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stack.local_http import serving

_PATH = "/analyze-voice"
_TIMEOUT_SECONDS = 20.0


class ForwardingAnalysisServer:
    """Forwards dispatches.

    forward_to: the URL of the reference analyzer.
    answer: the status and the JSON that it answers instead of forwarding; None to forward.
    """

    def __init__(self, origin: str) -> None:
        self.url = f"{origin}{_PATH}"
        self.forward_to = ""
        self.answer: tuple[int, bytes] | None = None
        self._arrived = threading.Condition()
        self._dispatches: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """The route that receives dispatches."""
        return [Route(_PATH, self.accept, methods=["POST"])]

    def dispatch(self, job_id: str) -> dict[str, Any]:
        """The body of a job's dispatch; waits for it."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: job_id in self._dispatches, _TIMEOUT_SECONDS):
                raise TimeoutError(f"Job {job_id} was not dispatched.")
            return self._dispatches[job_id]

    async def accept(self, request: Request) -> Response:
        """Answer a dispatch."""
        body = await request.body()
        job = json.loads(body)
        with self._arrived:
            self._dispatches[job["job_id"]] = job
            self._arrived.notify_all()
        if self.answer is not None:
            status, content = self.answer
            return Response(content, status, media_type="application/json")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in ("host", "content-length", "connection")
        }
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            answer = await client.post(self.forward_to, content=body, headers=headers)
        return Response(answer.content, answer.status_code, media_type="application/json")


def forwarding_analysis_server() -> AbstractContextManager[ForwardingAnalysisServer]:
    """A server on a free port of this machine."""
    return serving(ForwardingAnalysisServer)
