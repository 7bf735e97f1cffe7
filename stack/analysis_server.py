"""An analysis server that accepts jobs and never reports; its user reports instead."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.local_http import serving

_PATH = "/analyze-voice"
WAIT_SECONDS = 60.0


class PassiveAnalysisServer:
    """Keeps every dispatch that it accepted, in order of arrival.

    is_open: if False, it responds with 503, and jobs wait.
    """

    def __init__(self, origin: str) -> None:
        self.url = f"{origin}{_PATH}"
        self.is_open = True
        self._arrived = threading.Condition()
        self._dispatches: list[dict[str, Any]] = []

    def routes(self) -> list[Route]:
        """The route that receives dispatches."""
        return [Route(_PATH, self.accept, methods=["POST"])]

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


def passive_analysis_server() -> AbstractContextManager[PassiveAnalysisServer]:
    """A passive analysis server on a free port of this machine."""
    return serving(PassiveAnalysisServer)
