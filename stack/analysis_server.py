"""An analysis server that takes jobs and keeps them: reports are made by who runs it."""

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


class KeepingServer:
    """Every dispatch it has accepted, in the order in which they came.

    is_open: when not, it answers 503, and jobs wait.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_open = True
        self._arrived = threading.Condition()
        self._dispatches: list[dict[str, Any]] = []

    def dispatches(self, least: int = 0) -> list[dict[str, Any]]:
        """The bodies of all dispatches, waiting for at least so many."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._dispatches) >= least, WAIT_SECONDS):
                raise TimeoutError(f"{len(self._dispatches)} of {least} jobs were dispatched")
            return list(self._dispatches)

    async def take(self, request: Request) -> Response:
        """The route that the product dispatches to."""
        job = await request.json()
        if not self.is_open:
            return JSONResponse({}, 503)
        with self._arrived:
            self._dispatches.append(job)
            self._arrived.notify_all()
        return JSONResponse({"status": "accepted"}, 202)


@contextmanager
def keeping_server() -> Iterator[KeepingServer]:
    """One on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        keeper = KeepingServer(f"http://127.0.0.1:{listener.getsockname()[1]}/analyze-voice")
        app = Starlette(routes=[Route("/analyze-voice", keeper.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield keeper
        finally:
            server.should_exit = True
            thread.join()
