"""The fake peers of the analyzer: a file server and a webhook."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import uuid
import wave
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from tests.integration.analyzer.ports import free_port

AUDIO = Path(__file__).parents[2] / "audio"
CLOSE = "take_0890_close.webm"

LONG_SECONDS = 60

PORT = free_port()
"""The port of all fake peers, so that analyzers can allow their origin."""

ORIGIN = f"http://127.0.0.1:{PORT}"


class FakePeers:
    """Serves files like S3 and receives reports like the gateway.

    files: the content of further files by name.
    answers: the HTTP statuses for the next final reports; then 200.
    progress_answer: the HTTP status for every progress report.
    gates: events that hold back responses: the key is a file name, "progress" or "final".
    fetched, served: how often a file was requested, and an event for the first time.
    calls, called: how many final reports of a job arrived, and an event for the first one.
    reports, progress_reports: the reports of a job that no test has read yet; final reports
        only if they were accepted.
    webhook_bodies: all reports of a job in the order of their arrival.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.fetched: defaultdict[str, int] = defaultdict(int)
        self.served: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.called: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.reports: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self.webhook_bodies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.progress_answer = 200
        self.progress_reports: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(
            asyncio.Queue
        )

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.fetched[name] += 1
        self.served[name].set()
        if gate := self.gates.get(name):
            await gate.wait()
        if name == "redirect":
            return RedirectResponse(f"{self.url}/files/{CLOSE}")
        if name in self.files:
            return Response(self.files[name])
        path = AUDIO / name
        return FileResponse(path) if path.exists() else Response(status_code=404)

    async def webhook(self, request: Request) -> Response:
        job_id = request.query_params["job_id"]
        assert request.query_params["signature"] == "secret"
        report = await request.json()
        self.webhook_bodies[job_id].append(report)
        if report.get("status") == "processing":
            return await self._progress(job_id, report)
        self.calls[job_id] += 1
        self.called[job_id].set()
        if gate := self.gates.get("final"):
            await gate.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.reports[job_id].put_nowait(report)
        return Response(status_code=status)

    async def _progress(self, job_id: str, report: dict[str, Any]) -> Response:
        self.progress_reports[job_id].put_nowait(report)
        if gate := self.gates.get("progress"):
            await gate.wait()
        return Response(status_code=self.progress_answer)

    async def progress_report(self, job_id: str) -> dict[str, Any]:
        """The next progress report of a job."""
        async with asyncio.timeout(60):
            return await self.progress_reports[job_id].get()

    async def report(self, job_id: str) -> dict[str, Any]:
        """The next accepted final report of a job."""
        async with asyncio.timeout(60):
            return await self.reports[job_id].get()

    def job(self, take: str = CLOSE, line: str = "0890") -> dict[str, Any]:
        job_id = str(uuid.uuid4())
        references = json.loads((AUDIO / "references.json").read_text())
        (reference,) = (each for each in references if line in each["file"])
        script = {
            "text": reference["script"],
            "language_code": "en",
            "start_time": reference["start_time"],
            "end_time": reference["end_time"],
            "words": [{**word, "text": word["word"]} for word in reference["words"]],
        }
        voice = {"url": f"{self.url}/files/ref_{line}.wav?signature=secret"}
        return {
            "job_id": job_id,
            "audio_url": f"{self.url}/files/{take}?signature=secret",
            "webhook_url": f"{self.url}/webhook?job_id={job_id}&signature=secret",
            "token": {"id": 1, "reference_assets": {"voice": voice}, "scripts": [script]},
        }


def long_take() -> bytes:
    """A take whose analysis takes seconds: several minutes of speech."""
    with wave.open(str(AUDIO / "ref_0890.wav")) as sample:
        parameters, frames = sample.getparams(), sample.readframes(sample.getnframes())
    content = io.BytesIO()
    with wave.open(content, "wb") as long:
        long.setparams(parameters)
        long.writeframes(frames * int(LONG_SECONDS * parameters.framerate / parameters.nframes))
    return content.getvalue()


class QuietServer(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
