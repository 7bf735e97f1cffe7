"""An analysis server that forwards to the reference analyzer, or answers as an attack wants."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TIMEOUT_SECONDS = 20.0


class ForwardingAnalysisServer:
    """Forwards dispatches.

    forward_to: the URL of the reference analyzer.
    answer: the status and the JSON that it answers instead of forwarding; None to forward.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.forward_to = ""
        self.answer: tuple[int, bytes] | None = None
        self._arrived = threading.Condition()
        self._dispatches: dict[str, dict[str, Any]] = {}

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


@contextmanager
def forwarding_analysis_server() -> Iterator[ForwardingAnalysisServer]:
    """A server on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/analyze-voice"
        server = ForwardingAnalysisServer(url)
        app = Starlette(routes=[Route("/analyze-voice", server.accept, methods=["POST"])])
        http = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield server
        finally:
            http.should_exit = True
            thread.join()
