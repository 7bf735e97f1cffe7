"""A cluster: the product with replicas, a fake analysis server, and the state of jobs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from services.analysis.jobs import ENDS
from services.analysis.webhook import WebhookSigner
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.environment import ROOT
from stack.stack import Stack
from tests.chaos.journal import Journal

RECORDING = (Path(__file__).parents[1] / "audio" / "ref_0890.wav").read_bytes()
SERVICE_CONFIG = (ROOT / "protos" / "sori" / "service_config.json").read_text("utf-8")
ANALYSIS_SERVER = "analysis server"
PATIENCE_SECONDS = 60.0

AUDIT = """
CREATE TABLE IF NOT EXISTS public.transitions (job_id uuid, before text, after text);
CREATE OR REPLACE FUNCTION public.record_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.transitions VALUES (NEW.job_id, OLD.state, NEW.state);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER record_transition AFTER UPDATE ON analysis.jobs FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION public.record_transition();
"""


class FakeAnalysisServer:
    """The process of the fake analysis server of `tests.chaos.analysis_server`."""

    def __init__(
        self, port: int, journal: Path, only: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        """Configure the server.

        only: its one behaviour; by default it has all.
        host: the address that it listens on.
        """
        self.url = f"http://{host}:{port}/analyze-voice"
        self.journal = Journal(journal)
        self.only = only
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        search_path = os.pathsep.join([str(ROOT), str(ROOT / "gen")])
        command = [
            *(sys.executable, "-m", "tests.chaos.analysis_server"),
            *("--host", self._host, "--port", str(self._port)),
            *("--journal", str(self.journal.path)),
            *(("--only", self.only) if self.only else ()),
        ]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,
        )
        eventually(self._is_listening)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def behave(self, only: str) -> None:
        """Restart with only this behaviour."""
        self.kill()
        self.only = only
        self.start()

    def dispatches(self, job_id: str) -> int:
        return sum(
            entry["kind"] == "dispatch" and entry["job_id"] == job_id
            for entry in self.journal.read()
        )

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self._host, self._port)) == 0


@dataclass(frozen=True)
class Take:
    """A recording whose upload succeeded."""

    job_id: str
    sha256: str


class Cluster:
    """The stack and the fake analysis server, with clients that retry.

    retried_errors: errors after which `upload` retried, beyond the retries of the service config.
    """

    def __init__(self, stack: Stack, analysis_server: FakeAnalysisServer) -> None:
        self.stack = stack
        self.analysis_server = analysis_server
        self.retried_errors: list[grpc.RpcError] = []

    def kill(self, name: str) -> None:
        """Kill a program. It starts again."""
        if name == ANALYSIS_SERVER:
            self.analysis_server.kill()
            self.analysis_server.start()
        else:
            self.stack.kill(name)

    def report(self, take: Take, replica: str = "analysis") -> analysis_pb2.ReportAnalysisResponse:
        """Report results to a replica of analysis, as the analysis server does.

        The result is the name of the replica.
        """
        key = self.stack.environment["WEBHOOK_SIGNING_KEY"]
        signer = WebhookSigner("http://localhost", key, signature_required=True)
        request = analysis_pb2.ReportAnalysisRequest(job_id=take.job_id)
        request.signature = httpx.URL(signer.url_for(UUID(take.job_id))).params["signature"]
        request.report.data = json.dumps({"analysis_results": {"replica": replica}}).encode()
        with client_channel(self.stack.address(replica)) as channel:
            return analysis_pb2_grpc.AnalysisServiceStub(channel).ReportAnalysis(request)

    def upload(self, token_id: int = 1) -> Take:
        """Upload a unique recording; retries until it succeeds, for 60 s."""
        recording = RECORDING + uuid4().bytes
        request_id = str(uuid4())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                job_id = self._upload_once(token_id, recording, request_id)
            except grpc.RpcError as error:
                # A killed gateway or replica resets calls; clients retry these codes.
                if error.code() not in RETRYABLE or time.monotonic() > deadline:
                    raise
                self.retried_errors.append(error)
            else:
                return Take(job_id, hashlib.sha256(recording).hexdigest())

    def upload_many(self, count: int, over_seconds: float = 0.0) -> list[Take]:
        """Upload this many recordings, evenly distributed over the time."""
        start = time.monotonic()

        def upload(number: int) -> Take:
            time.sleep(max(0.0, start + over_seconds * number / count - time.monotonic()))
            return self.upload()

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(upload, range(count)))

    def watch_until_end(
        self, take: Take, watching: threading.Event | None = None
    ) -> tuple[str, float]:
        """Watch a job until it ends, and reconnect when the stream breaks.

        Returns the final status and the time at which it arrived, in seconds since the epoch.
        watching: set when the first state arrives.
        """
        while True:
            try:
                with client_channel(self.stack.address("analysis")) as channel:
                    request = analysis_pb2.WatchAnalysisRequest(job_id=take.job_id)
                    stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
                    for state in stub.WatchAnalysis(request):
                        if watching is not None:
                            watching.set()
                        if state.status != "processing":
                            return state.status, time.time()
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    def cancel(self, take: Take) -> None:
        """Cancel a job."""
        with client_channel(self.stack.address("analysis")) as channel:
            request = analysis_pb2.CancelAnalysisRequest(job_id=take.job_id)
            analysis_pb2_grpc.AnalysisServiceStub(channel).CancelAnalysis(request)

    def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Query PostgreSQL; retries until it responds, for 60 s."""
        found: list[asyncpg.Record] = []

        def has_responded() -> bool:
            nonlocal found
            try:
                found = asyncio.run(_query(self.stack.database_url, statement, *arguments))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                return False
            return True

        eventually(has_responded)
        return found

    def jobs(self, takes: list[Take]) -> dict[str, asyncpg.Record]:
        """The rows of the jobs, by job id."""
        rows = self.query(
            "SELECT job_id, state, failure_reason, dispatches, counted_attempts, end_time"
            " FROM analysis.jobs WHERE job_id = ANY($1)",
            [UUID(take.job_id) for take in takes],
        )
        return {str(row["job_id"]): row for row in rows}

    def wait_until_ended(self, takes: list[Take], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until every job has ended."""

        def unfinished() -> list[asyncpg.Record]:
            return [row for row in self.jobs(takes).values() if row["state"] not in ENDS]

        eventually(lambda: not unfinished(), seconds, unfinished)

    def results(self, takes: list[Take]) -> dict[str, dict[str, Any]]:
        """The results of the completed jobs, by job id."""
        rows = self.query(
            "SELECT job_id, result FROM analysis.jobs WHERE result IS NOT NULL"
            " AND job_id = ANY($1)",
            [UUID(take.job_id) for take in takes],
        )
        return {
            str(row["job_id"]): json_format.MessageToDict(Struct.FromString(row["result"]))
            for row in rows
        }

    def final_transitions(self, takes: list[Take]) -> dict[str, list[tuple[str, str]]]:
        """The transitions of each job into a final state: the state before, and the final state."""
        rows = self.query(
            "SELECT job_id, before, after FROM public.transitions WHERE job_id = ANY($1)",
            [UUID(take.job_id) for take in takes],
        )
        transitions: dict[str, list[tuple[str, str]]] = {}
        for row in rows:
            if row["after"] in ENDS:
                transition = (row["before"], row["after"])
                transitions.setdefault(str(row["job_id"]), []).append(transition)
        return transitions

    def _upload_once(self, token_id: int, recording: bytes, request_id: str) -> str:
        metadata = pb.UploadAudioMetadata(token_id=token_id, request_id=request_id)
        messages = [
            pb.UploadAudioRequest(metadata=metadata),
            pb.UploadAudioRequest(chunk=recording),
            pb.UploadAudioRequest(finish=pb.UploadAudioFinish()),
        ]
        with client_channel(self.stack.gateway_address) as channel:
            stub = upload_pb2_grpc.UploadServiceStub(channel)
            return stub.UploadAudio(iter(messages), timeout=20).job_id


RETRYABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # The connection broke.
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    # The job failed because the upload was considered dead.
    grpc.StatusCode.FAILED_PRECONDITION,
)


def client_channel(target: str) -> grpc.Channel:
    """A channel with the service config that clients use."""
    return grpc.insecure_channel(
        target,
        options=[
            ("grpc.service_config", SERVICE_CONFIG),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ],
    )


def eventually(
    holds: Callable[[], bool],
    seconds: float = PATIENCE_SECONDS,
    describe: Callable[[], object] = lambda: "the condition did not hold in time",
) -> None:
    """Poll until the condition holds, where no event announces it.

    describe: called after this many seconds, for the message of the failure.
    """
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not holds():
        assert time.monotonic() < deadline, describe()
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


async def _query(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close(timeout=5)
