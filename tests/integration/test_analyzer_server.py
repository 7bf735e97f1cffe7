"""The analysis server as a process, between a file server and a webhook."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from services.analyzer.score import ANALYZER_VERSION

AUDIO = Path(__file__).parents[1] / "audio"
REPOSITORY = Path(__file__).parents[2]
CLOSE = "take_0890_close.webm"


class Surroundings:
    """Serves files as S3 would, and takes reports as the gateway would.

    `answers` are the statuses of the next final reports, 200 when used up.
    `progress_answer` is the status of every progress report.
    `gates` hold back the files they name until set, and "progress" or "final" reports.
    `told` is what arrived at the webhook, in order, whatever was answered.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.fetched: defaultdict[str, int] = defaultdict(int)
        self.served: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.called: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.reports: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self.told: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
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
        path = AUDIO / name
        return FileResponse(path) if path.exists() else Response(status_code=404)

    async def webhook(self, request: Request) -> Response:
        job_id = request.query_params["job_id"]
        assert request.query_params["signature"] == "secret"
        report = await request.json()
        self.told[job_id].append(report)
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
        """The next final report of a job that was taken."""
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


class Analyzer:
    """The process under test."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client
        self.log: list[str] = []

    async def post(self, job: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.client.post("/analyze-voice", json=job, headers=headers)

    async def status(self, job: dict[str, Any]) -> httpx.Response:
        return await self.client.get(f"/analyze-voice/{job['job_id']}")

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if _is_worker(child)]

    async def read_log(self, until: str | None = None) -> None:
        """Keep the log up to a line that contains `until`, or to the end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.log.append(line.decode())
            if until and until in self.log[-1]:
                return


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        # Dead or a zombie by now.
        return False


class QuietServer(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
async def surroundings() -> AsyncIterator[Surroundings]:
    here = Surroundings()
    app = Starlette(
        routes=[
            Route("/files/{name}", here.file),
            Route("/webhook", here.webhook, methods=["POST"]),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    here.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = QuietServer(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))
    yield here
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def analyzer_with(**settings: object) -> AsyncIterator[Analyzer]:
    port = free_port()
    environment = {f"ANALYZER_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.analyzer",
        cwd=REPOSITORY,
        env={**os.environ, "ANALYZER_PORT": str(port), "ANALYZER_WORKERS": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        analyzer = Analyzer(process, client)
        try:
            async with asyncio.timeout(60):
                await analyzer.read_log(until="running on")
            reading = asyncio.create_task(analyzer.read_log())
            yield analyzer
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading


@pytest.fixture
async def analyzer() -> AsyncIterator[Analyzer]:
    async with analyzer_with(backoff_seconds=0.05) as running:
        yield running


async def test_a_take_is_accepted_at_once_and_reported(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    job = surroundings.job()
    answer = await analyzer.post(job)
    assert answer.status_code == 202
    assert answer.json() == {
        "job_id": job["job_id"],
        "status": "accepted",
        "status_url": f"{analyzer.client.base_url}/analyze-voice/{job['job_id']}",
    }
    surroundings.gates[CLOSE].set()

    results = (await surroundings.report(job["job_id"]))["analysis_results"]
    assert 75 < results["overall_score"] < 98
    assert len(results["words"]) == 14
    assert (await analyzer.client.get("/healthz")).status_code == 200
    assert not any("secret" in line for line in analyzer.log)


@pytest.mark.parametrize(
    ("take", "reason"),
    [
        ("silence_2s.wav", "SILENT_AUDIO"),
        ("notaudio.wav", "UNDECODABLE_AUDIO"),
        ("truncated.m4a", "UNDECODABLE_AUDIO"),
        ("missing.wav", "AUDIO_UNAVAILABLE"),
    ],
)
async def test_failures_are_reported_with_reason_and_sentence(
    analyzer: Analyzer, surroundings: Surroundings, take: str, reason: str
) -> None:
    job = surroundings.job(take)
    await analyzer.post(job)
    report = await surroundings.report(job["job_id"])
    assert (report["status"], report["reason"]) == ("failed", reason)
    assert report["error"].endswith(".")


async def test_a_missing_reference_voice_is_reported(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    job = surroundings.job()
    job["token"]["reference_assets"]["voice"]["url"] = f"{surroundings.url}/files/none.wav"
    await analyzer.post(job)
    assert (await surroundings.report(job["job_id"]))["reason"] == "REFERENCE_UNAVAILABLE"


async def test_too_large_or_too_long_a_recording_is_reported(surroundings: Surroundings) -> None:
    async with analyzer_with(max_audio_bytes=200_000, max_audio_seconds=6) as analyzer:
        for take in ("ref_0870.wav", "take_0890_wrongline.mp3"):
            job = surroundings.job(take, line="0930")
            await analyzer.post(job)
            report = await surroundings.report(job["job_id"])
            assert (report.get("reason") == "AUDIO_TOO_LONG") is (take == "ref_0870.wav")


async def test_the_webhook_is_tried_again_after_503_and_429(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.answers = [503, 429]
    job = surroundings.job()
    await analyzer.post(job)
    assert "analysis_results" in await surroundings.report(job["job_id"])
    assert surroundings.calls[job["job_id"]] == 3


async def test_a_webhook_that_refuses_is_left_alone(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.answers = [403]
    refused, taken = surroundings.job(), surroundings.job()
    await analyzer.post(refused)
    await surroundings.called[refused["job_id"]].wait()
    await analyzer.post(taken)
    await surroundings.report(taken["job_id"])
    assert surroundings.calls[refused["job_id"]] == 1


async def test_a_repeat_runs_no_second_analysis(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    job = surroundings.job()
    key = {"Idempotency-Key": job["job_id"]}
    while_running = [(await analyzer.post(job, **key)).status_code for _ in range(3)]
    surroundings.gates[CLOSE].set()
    await surroundings.report(job["job_id"])
    afterwards = await analyzer.post(job, **key)
    assert [*while_running, afterwards.status_code] == [202] * 4

    other = surroundings.job()
    await analyzer.post(other)
    await surroundings.report(other["job_id"])
    assert surroundings.fetched[CLOSE] == 2
    assert surroundings.calls[job["job_id"]] == 1


async def test_the_status_is_what_the_webhook_is_told(surroundings: Surroundings) -> None:
    surroundings.gates = {CLOSE: asyncio.Event(), "final": asyncio.Event()}
    async with analyzer_with(progress_reports=False) as analyzer:
        job = surroundings.job()
        status_url = (await analyzer.post(job)).json()["status_url"]
        waiting = (await analyzer.client.get(status_url)).json()
        assert waiting == {
            "status": "processing",
            "progress": 0,
            "message": "분석 차례를 기다리고 있습니다.",
        }
        surroundings.gates[CLOSE].set()
        await surroundings.called[job["job_id"]].wait()
        undelivered = (await analyzer.client.get(status_url)).json()
        surroundings.gates["final"].set()
        report = await surroundings.report(job["job_id"])
        delivered = (await analyzer.client.get(status_url)).json()
        assert [undelivered, delivered] == [report, report]
        assert surroundings.told[job["job_id"]] == [report]


async def test_the_status_of_a_failed_job_has_reason_and_sentence(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    job = surroundings.job("silence_2s.wav")
    await analyzer.post(job)
    report = await surroundings.report(job["job_id"])
    assert (await analyzer.status(job)).json() == report
    assert set(report) == {"status", "reason", "error"}


async def test_the_status_of_an_unknown_job_is_404(analyzer: Analyzer) -> None:
    unknown = await analyzer.status({"job_id": uuid.uuid4()})
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
    assert (await analyzer.status({"job_id": "no-uuid"})).status_code == 404


async def test_the_status_url_begins_as_the_server_was_called(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    job = surroundings.job()
    answer = await analyzer.post(job, Host="analyzer.example:81")
    expected = f"http://analyzer.example:81/analyze-voice/{job['job_id']}"
    assert answer.json()["status_url"] == expected


async def test_the_status_url_begins_as_it_is_set(surroundings: Surroundings) -> None:
    async with analyzer_with(public_url="https://analyzer.example/one/") as analyzer:
        job = surroundings.job()
        answer = await analyzer.post(job)
        expected = f"https://analyzer.example/one/analyze-voice/{job['job_id']}"
        assert answer.json()["status_url"] == expected


async def test_a_result_outlives_a_lost_webhook_and_is_delivered_to_a_repeat(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.answers = [403]
    job, other = surroundings.job(), surroundings.job()
    await analyzer.post(job)
    await surroundings.called[job["job_id"]].wait()
    await analyzer.post(other)
    await surroundings.report(other["job_id"])
    kept = (await analyzer.status(job)).json()
    assert "analysis_results" in kept

    assert (await analyzer.post(job)).status_code == 202
    assert await surroundings.report(job["job_id"]) == kept
    assert (await analyzer.status(job)).json() == kept
    assert surroundings.fetched[CLOSE] == 2


async def test_a_job_beyond_the_most_remembered_is_computed_again(
    surroundings: Surroundings,
) -> None:
    async with analyzer_with(remembered_reports=1) as analyzer:
        jobs = [surroundings.job() for _ in range(3)]
        for job in jobs:
            await analyzer.post(job)
            await surroundings.report(job["job_id"])
        assert (await analyzer.status(jobs[0])).status_code == 404
        assert (await analyzer.status(jobs[2])).status_code == 200
        await analyzer.post(jobs[0])
        assert "analysis_results" in await surroundings.report(jobs[0]["job_id"])


@pytest.mark.parametrize("setting", ["remembered_bytes", "remembered_seconds"])
async def test_without_room_or_time_nothing_is_remembered(
    surroundings: Surroundings, setting: str
) -> None:
    async with analyzer_with(**{setting: 0}) as analyzer:
        ended, after = surroundings.job(), surroundings.job()
        for job in (ended, after):
            await analyzer.post(job)
            await surroundings.report(job["job_id"])
        assert (await analyzer.status(ended)).status_code == 404


async def test_progress_is_told_before_the_report(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    (worker,) = analyzer.workers()
    worker.suspend()
    job = surroundings.job()
    await analyzer.post(job)
    surroundings.gates[CLOSE].set()
    fetched = await surroundings.progress_report(job["job_id"])
    analysing = await surroundings.progress_report(job["job_id"])
    assert [fetched, analysing] == [
        {"status": "processing", "progress": 20, "message": "녹음을 받았습니다."},
        {"status": "processing", "progress": 40, "message": "목소리를 분석하고 있습니다."},
    ]
    assert (await analyzer.status(job)).json() == analysing
    worker.resume()
    report = await surroundings.report(job["job_id"])
    assert surroundings.told[job["job_id"]] == [fetched, analysing, report]


async def test_a_job_that_waits_for_a_worker_is_not_said_to_be_analysed(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    (worker,) = analyzer.workers()
    worker.suspend()
    first, second = surroundings.job(), surroundings.job()
    await analyzer.post(first)
    for _ in range(2):
        await surroundings.progress_report(first["job_id"])
    await analyzer.post(second)
    assert (await surroundings.progress_report(second["job_id"]))["progress"] == 20
    assert (await analyzer.status(second)).json()["progress"] == 20
    worker.resume()
    assert (await surroundings.progress_report(second["job_id"]))["progress"] == 40
    await surroundings.report(second["job_id"])


async def test_a_job_waits_for_no_progress_report_and_sends_none_after_its_end(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.gates["progress"] = asyncio.Event()
    job, after = surroundings.job(), surroundings.job()
    await analyzer.post(job)
    assert "analysis_results" in await surroundings.report(job["job_id"])
    surroundings.gates["progress"].set()
    await analyzer.post(after)
    await surroundings.report(after["job_id"])
    first, last = surroundings.told[job["job_id"]]
    assert (first["progress"], "analysis_results" in last) == (20, True)


async def test_refused_progress_is_not_told_again(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    surroundings.progress_answer = 503
    (worker,) = analyzer.workers()
    worker.suspend()
    job = surroundings.job()
    await analyzer.post(job)
    for _ in range(2):
        await surroundings.progress_report(job["job_id"])
    worker.resume()
    report = await surroundings.report(job["job_id"])
    assert [told.get("progress") for told in surroundings.told[job["job_id"]]] == [20, 40, None]
    assert "analysis_results" in report


async def test_results_carry_the_version_of_the_code_whatever_is_set(
    surroundings: Surroundings,
) -> None:
    async with analyzer_with(version="of the settings") as analyzer:
        job = surroundings.job()
        await analyzer.post(job)
        report = await surroundings.report(job["job_id"])
    assert report["analyzer_version"] == ANALYZER_VERSION
    assert report["analysis_results"]["analyzer_version"] == ANALYZER_VERSION


async def test_bad_bodies_are_refused_with_a_reason(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    no_json = await analyzer.client.post("/analyze-voice", content=b"{")
    assert (no_json.status_code, "JSON" in no_json.json()["error"]) == (400, True)

    job = surroundings.job()
    mismatch = await analyzer.post(job, **{"Idempotency-Key": str(uuid.uuid4())})
    assert mismatch.status_code == 422

    job["token"]["scripts"][0]["words"][0]["start_time"] = -1
    job["audio_url"] = "ftp://secret"
    bad = await analyzer.post(job)
    assert bad.status_code == 422
    fields = [field["field"] for field in bad.json()["fields"]]
    assert {"audio_url", "token.scripts.0.words.0.start_time"} <= set(fields)
    assert "secret" not in bad.text

    large = await analyzer.client.post("/analyze-voice", content=b" " * 2_000_000)
    assert (large.status_code, list(large.json())) == (413, ["error"])
    assert (await analyzer.client.get("/analyze-voice")).status_code == 405


async def test_a_full_queue_says_when_to_come_again(surroundings: Surroundings) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    async with analyzer_with(max_queued=1) as analyzer:
        first, second = surroundings.job(), surroundings.job()
        assert (await analyzer.post(first)).status_code == 202
        refused = await analyzer.post(second)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        surroundings.gates[CLOSE].set()
        await surroundings.report(first["job_id"])


async def test_a_job_outlives_its_worker(analyzer: Analyzer, surroundings: Surroundings) -> None:
    (worker,) = analyzer.workers()
    worker.suspend()
    job = surroundings.job()
    await analyzer.post(job)
    await surroundings.served["ref_0890.wav"].wait()
    worker.kill()
    assert "analysis_results" in await surroundings.report(job["job_id"])
    assert analyzer.workers() != [worker]


async def test_a_job_that_kills_every_worker_is_reported(
    analyzer: Analyzer, surroundings: Surroundings
) -> None:
    job = surroundings.job()
    await analyzer.post(job)
    reporting = asyncio.create_task(surroundings.report(job["job_id"]))
    while not reporting.done():
        for worker in analyzer.workers():
            worker.kill()
        await asyncio.wait([reporting], timeout=0.02)
    assert reporting.result()["reason"] == "ANALYSIS_CRASHED"

    after = surroundings.job()
    await analyzer.post(after)
    assert "analysis_results" in await surroundings.report(after["job_id"])


async def test_a_worker_that_hangs_is_replaced(surroundings: Surroundings) -> None:
    async with analyzer_with(analysis_timeout_seconds=4) as analyzer:
        analyzer.workers()[0].suspend()
        stuck, after = surroundings.job(), surroundings.job()
        await analyzer.post(stuck)
        assert (await surroundings.report(stuck["job_id"]))["reason"] == "ANALYSIS_CRASHED"
        await analyzer.post(after)
        assert "analysis_results" in await surroundings.report(after["job_id"])


async def test_a_worker_is_replaced_when_old(surroundings: Surroundings) -> None:
    async with analyzer_with(jobs_per_worker=1) as analyzer:
        first = analyzer.workers()
        for _ in range(2):
            job = surroundings.job()
            await analyzer.post(job)
            assert "analysis_results" in await surroundings.report(job["job_id"])
        assert not psutil.wait_procs(first, timeout=5)[1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_job_is_finished_before_the_end(
    analyzer: Analyzer, surroundings: Surroundings, stop: signal.Signals
) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    workers = analyzer.workers()
    job = surroundings.job()
    await analyzer.post(job)
    await surroundings.served[CLOSE].wait()
    analyzer.process.send_signal(stop)
    surroundings.gates[CLOSE].set()
    assert "analysis_results" in await surroundings.report(job["job_id"])
    assert await asyncio.wait_for(analyzer.process.wait(), 20) == 0
    assert not psutil.wait_procs(workers, timeout=5)[1]


async def test_a_job_that_takes_too_long_is_abandoned(surroundings: Surroundings) -> None:
    surroundings.gates[CLOSE] = asyncio.Event()
    async with analyzer_with(shutdown_grace_seconds=0.2) as analyzer:
        await analyzer.post(surroundings.job())
        await surroundings.served[CLOSE].wait()
        analyzer.process.terminate()
        assert await asyncio.wait_for(analyzer.process.wait(), 20) == 0
    surroundings.gates[CLOSE].set()


async def test_workers_end_with_a_killed_server(analyzer: Analyzer) -> None:
    workers = analyzer.workers()
    assert workers
    analyzer.process.kill()
    assert not psutil.wait_procs(workers, timeout=10)[1]
