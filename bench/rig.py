"""A stack to measure: the discarding S3, an address for the analysis server, and the peers."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.load import BENCH_PYTHON, OWN_PYTHON
from bench.postgres_proxy import PostgresProxy
from bench.processes import send_signal
from bench.servers import running
from services.registry import SERVICE_NAMES
from stack.ports import free_ports
from stack.settings import service_of
from stack.stack import Stack

_PEERS = Path(__file__).parent / "peers"
PEER = "peer"
"""The name of a peer's own process in `Competitor.pids`."""

_LARGE = str(10**15)
_THAW_SECONDS = 1.0
_WEBHOOK_PATH = "/tokens/webhook/analysis-complete"


@dataclass(frozen=True)
class Competitor:
    """A product under load: ours or a peer.

    port: where its clients connect. pids: its programs, PostgreSQL included.
    """

    name: str
    port: int
    pids: dict[str, int]


class Rig:
    """A running stack and what belongs to it.

    analysis_port: where dispatches of every competitor go; a load driver listens there.
    s3_url: the S3 server of every competitor.
    """

    def __init__(self, stack: Stack, folder: Path, analysis_port: int, s3_url: str) -> None:
        self.stack = stack
        self.folder = folder
        self.analysis_port = analysis_port
        self.s3_url = s3_url

    @property
    def ours(self) -> Competitor:
        """The product behind its gateway."""
        pids = {name: self.pid(name) for name in self.stack.programs if name != "s3"}
        return Competitor("ours", self.stack.settings.gateway_port, pids)

    def pid(self, name: str) -> int:
        """The process id of a program of the stack."""
        pid = self.stack.pid(name)
        if pid is None:
            raise RuntimeError(f"{name} does not run:\n{self.stack.logs(name)[-2000:]}")
        return pid

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the product's own programs, so that a peer has the machine."""
        own = [
            name
            for name in self.stack.programs
            if service_of(name) in SERVICE_NAMES or "gateway" in name
        ]
        for name in own:
            self.stack.signal(name, "STOP")
        try:
            yield
        finally:
            for name in own:
                self.stack.signal(name, "CONT")
            # The gateway may first find that its health checks have timed out.
            time.sleep(_THAW_SECONDS)
            for name in own:
                self.stack.wait_ready(name)
            for replicas in self.stack.settings.replicas.values():
                for name in replicas:
                    self.stack.wait_routed(name)

    @contextmanager
    def fastapi(self) -> Iterator[Competitor]:
        """Run the FastAPI peer on the same PostgreSQL and S3; frozen until it is used."""
        asyncio.run(self._create_peer_tables())
        (port,) = free_ports(1)
        command = (BENCH_PYTHON, "-m", "bench.peers.fastapi", str(port))
        with self._peer("FastAPI", command, port) as peer:
            yield peer

    @contextmanager
    def tus_server(self, node: str) -> Iterator[Competitor]:
        """Run @tus/server on the same S3; frozen until it is used."""
        (port,) = free_ports(1)
        command = (node, _PEERS / "tus" / "server.mjs", str(port))
        with self._peer("@tus/server", command, port) as peer:
            yield peer

    @contextmanager
    def _peer(self, name: str, command: Sequence[str | Path], port: int) -> Iterator[Competitor]:
        log, environment = self.folder / "peer.log", self._peer_environment(port)
        with running(command, port, log, environment) as pid, frozen_process(pid):
            yield Competitor(name, port, {PEER: pid, "postgres": self.pid("postgres")})

    @contextmanager
    def only(self, competitor: Competitor) -> Iterator[Competitor]:
        """Let only this competitor run."""
        if competitor.name == "ours":
            yield competitor
            return
        with self.frozen(), thawed(competitor.pids[PEER]):
            yield competitor

    def _peer_environment(self, port: int) -> dict[str, str]:
        ours = self.stack.environment
        shared = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET_NAME", "DATABASE_URL")
        return {name: ours[name] for name in shared} | {
            "AWS_DEFAULT_REGION": ours["AWS_REGION"],
            "S3_ENDPOINT_URL": self.s3_url,
            "TARGET_SERVER_URL": ours["TARGET_SERVER_URL"],
            "WEBHOOK_URL": f"http://127.0.0.1:{port}{_WEBHOOK_PATH}",
        }

    async def _create_peer_tables(self) -> None:
        connection = await asyncpg.connect(self.stack.database_url)
        try:
            await connection.execute((_PEERS / "fastapi" / "tables.sql").read_text())
        finally:
            await connection.close()


@contextmanager
def rig(
    environment: Mapping[str, str] | None = None,
    *,
    discards: bool = True,
    without: tuple[str, ...] = ("analyzer",),
    replicas: int = 1,
    analysis_workers: int = 0,
    postgres_proxy: PostgresProxy | None = None,
) -> Iterator[Rig]:
    """Start a stack with a PostgreSQL that waits for the disk.

    environment: variables of the services besides those that benchmarks need.
    discards: whether S3 discards recordings; otherwise SeaweedFS stores them.
    postgres_proxy: a running proxy between the services and PostgreSQL.
    """
    analysis_port, sink_port = free_ports(2)
    variables = {
        "TARGET_SERVER_URL": f"http://127.0.0.1:{analysis_port}/analyze-voice",
        # One address sends, watches and reports everything.
        "CLIENT_MAX_BYTES_PER_DAY": _LARGE,
        "CLIENT_MAX_OPEN_UPLOADS": "100000",
        "MAX_WATCHES_PER_CLIENT": "0",
        "GATEWAY_WEBHOOK_REQUESTS_PER_SECOND": "1000000",
        "GATEWAY_WEBHOOK_BURST": "1000000",
    }
    # Tests count requests without the environment of the peers.
    python = BENCH_PYTHON if BENCH_PYTHON.exists() else OWN_PYTHON
    sink = (python, "-m", "bench.sink", str(sink_port))
    with tempfile.TemporaryDirectory(prefix="sori-bench-") as name:
        folder = Path(name)
        with running(sink, sink_port, folder / "sink.log"):
            if discards:
                variables["S3_ENDPOINT_URL"] = f"http://127.0.0.1:{sink_port}"
            if postgres_proxy:
                variables["DATABASE_URL"] = postgres_proxy.url
            stack = Stack.on_free_ports(
                folder / "stack",
                {**variables, **(environment or {})},
                without=(*without, "s3") if discards else without,
                durable=True,
                replicas=replicas,
                analysis_workers=analysis_workers,
                gateways=1,
            )
            if postgres_proxy:
                postgres_proxy.target_port = stack.settings.postgres_port
            with stack:
                yield Rig(stack, folder, analysis_port, stack.s3.endpoint_url)


@contextmanager
def frozen_process(pid: int) -> Iterator[None]:
    """Freeze a program while the context lasts."""
    send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(pid, signal.SIGCONT)


@contextmanager
def thawed(pid: int) -> Iterator[None]:
    """Let a frozen program run while the context lasts."""
    send_signal(pid, signal.SIGCONT)
    try:
        yield
    finally:
        send_signal(pid, signal.SIGSTOP)
