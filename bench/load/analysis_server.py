"""An analysis server that needs no time, in the event loop of a load driver."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

from bench.http1 import BufferedServer, ClientPool, Head, request_head

RESULT = {
    "overall_score": 90.5,
    "words": [
        {"text": f"word{n}", "start_time": n, "end_time": n + 1, "score": 88.5} for n in range(10)
    ],
}
REPORT = json.dumps({"analysis_results": RESULT}).encode()
_ACCEPTED = b'{"status":"accepted"}'
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05

Mode = Literal["report", "inline", "keep"]
Job = dict[str, str]


class InstantAnalysisServer:
    """Accepts every job; a context manager.

    mode: "report" accepts a job and reports its result immediately by webhook; "inline"
        answers with the result; "keep" accepts it and reports only on request.
    completed: when the webhook of each reported job was answered, by job id.
    dispatched: all jobs in order of arrival.
    """

    def __init__(self, port: int, mode: Mode) -> None:
        self._port = port
        self._mode = mode
        self._pools: dict[int, ClientPool] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.completed: dict[str, float] = {}
        self.dispatched: list[Job] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=1024
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for pool in self._pools.values():
            pool.close()

    async def wait_completed(self, job_id: str) -> None:
        """Wait until the webhook of a job was answered."""
        if job_id not in self.completed:
            await self._waiting.setdefault(job_id, asyncio.Event()).wait()

    async def wait_dispatched(self, jobs: int) -> None:
        """Wait until this many jobs have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.dispatched) >= jobs)

    async def report(self, job: Job) -> None:
        """Report the result of a job until the webhook accepts it."""
        url = urlsplit(job["webhook_url"])
        port = url.port or 80
        pool = self._pools.setdefault(port, ClientPool(port))
        head = request_head(
            "POST",
            f"{url.path}?{url.query}",
            port,
            Content_Type="application/json",
            Content_Length=len(REPORT),
        )
        for _ in range(_ATTEMPTS):
            with suppress(ConnectionError):
                response = await pool.request(head + REPORT)
                if response.status == 200:
                    self._complete(job["job_id"])
                    return
            await asyncio.sleep(_PAUSE_SECONDS)

    def accept(self, body: bytes) -> bytes:
        """The response to a dispatch."""
        job: Job = json.loads(body)
        self.dispatched.append(job)
        self._start(self._announce())
        if self._mode == "inline":
            return _response("200 OK", REPORT)
        if self._mode == "report":
            self._start(self.report(job))
        return _response("202 Accepted", _ACCEPTED)

    def _complete(self, job_id: str) -> None:
        self.completed[job_id] = time.perf_counter()
        if event := self._waiting.pop(job_id, None):
            event.set()

    async def _announce(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Connection(BufferedServer):
    def __init__(self, server: InstantAnalysisServer) -> None:
        super().__init__()
        self._server = server

    def keeps_body(self, head: Head) -> bool:  # noqa: ARG002
        return True

    def handle(self, head: Head, size: int, body: bytes | None) -> None:  # noqa: ARG002
        self.write(self._server.accept(body or b""))


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
