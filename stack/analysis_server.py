"""An analysis server that accepts jobs and never reports; its user reports instead."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

WAIT_SECONDS = 60.0


class PassiveAnalysisServer:
    """Keeps every dispatch that it accepted, in order of arrival.

    is_open: if False, it responds with 503, and jobs wait.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_open = True
        self._arrived = threading.Condition()
        self._dispatches: list[dict[str, Any]] = []

    def dispatches(self, minimum: int = 0) -> list[dict[str, Any]]:
        """The bodies of all dispatches; waits until there are at least `minimum`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._dispatches) >= minimum, WAIT_SECONDS):
                raise TimeoutError(f"{len(self._dispatches)} of {minimum} jobs were dispatched")
            return list(self._dispatches)

    async def accept(self, request: Request) -> Response:
        """Accept a dispatch, or refuse it with 503."""
        job = await request.json()
        if not self.is_open:
            return JSONResponse({}, 503)
        with self._arrived:
            self._dispatches.append(job)
            self._arrived.notify_all()
        return JSONResponse({"status": "accepted"}, 202)


@contextmanager
def passive_analysis_server() -> Iterator[PassiveAnalysisServer]:
    """A passive analysis server on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = PassiveAnalysisServer(
            f"http://127.0.0.1:{listener.getsockname()[1]}/analyze-voice"
        )
        app = Starlette(routes=[Route("/analyze-voice", server.accept, methods=["POST"])])
        http = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield server
        finally:
            http.should_exit = True
            thread.join()
