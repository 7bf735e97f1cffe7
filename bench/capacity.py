"""The CPU time that each program spends on each kind of request.

`python -m bench.capacity`: it starts a separate stack with one of each program, a PostgreSQL
that waits for the disk, and an analysis server that never reports. It prints the CPU
milliseconds of each program for one take, upload, read, login and so on, and how many of
them one core handles per second; the bytes that a take writes to PostgreSQL; and the memory
of a watcher. The CPU time of idle programs is subtracted. It writes `bench/capacity.json`, of
which `bench.capacity_page` makes the tables of docs/operations.md.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle

import asyncpg
import grpc
import httpx
from rich.console import Console
from rich.table import Table

from bench import capacity_page
from bench.capacity_page import Cost, Figures
from bench.learners import ENVIRONMENT, PASSWORD, Learner, sign_up
from bench.processes import cpu_seconds, resident_bytes
from services import registry
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.analysis_server import PassiveAnalysisServer, passive_analysis_server
from stack.seed import SAMPLE_TAKE
from stack.stack import Stack

TAKES = 250
READS = 1000
LOGINS = 100
REFRESHES = 500
WATCHERS = 400
WATCHED_SECONDS = 20.0
LARGE_BYTES = 256 * 1024**2
CHUNK_BYTES = 1024**2
AT_ONCE = 16
IDLE_SECONDS = 10.0
TOKEN_ID = 1
RESULT = {
    "overall_score": 90,
    "words": [{"text": f"word{n}", "start_time": n, "end_time": n + 1} for n in range(60)],
    "pitch": {"times": [n / 100 for n in range(500)], "values": [n / 10 for n in range(500)]},
}
PROGRAMS = ("gateway", *registry.PROGRAMS, "postgres", "s3")

Seconds = Mapping[str, float]


class Meter:
    """Reads the CPU time and the memory of a stack's programs."""

    def __init__(self, stack: Stack, database: asyncpg.Connection) -> None:
        self._stack = stack
        self._database = database
        self._idle: Seconds = dict.fromkeys(PROGRAMS, 0.0)

    async def measure_idle(self) -> None:
        """Measure the CPU time of idle programs, which `measure` subtracts."""
        before = self.seconds()
        await asyncio.sleep(IDLE_SECONDS)
        self._idle = {n: (s - before[n]) / IDLE_SECONDS for n, s in self.seconds().items()}

    async def measure(self, times: int, work: Callable[[], Awaitable[None]]) -> Cost:
        """The cost of one request.

        times: the number of requests that `work` makes.
        """
        before, wal_before, began = self.seconds(), await self._written(), time.monotonic()
        await work()
        lasted, after = time.monotonic() - began, self.seconds()
        wal_after = await self._written()
        spent = {n: max(0.0, after[n] - before[n] - lasted * self._idle[n]) for n in PROGRAMS}
        return Cost(
            {name: seconds / times for name, seconds in spent.items()},
            *((late - early) / times for early, late in zip(wal_before, wal_after, strict=True)),
        )

    def seconds(self) -> Seconds:
        """CPU seconds of each program and its children, including those that have exited."""
        return {name: cpu_seconds(self._pid(name)) for name in PROGRAMS}

    def memory(self) -> Seconds:
        """Resident memory of each program in bytes."""
        return {name: resident_bytes(self._pid(name)) for name in PROGRAMS}

    def _pid(self, name: str) -> int:
        pid = self._stack.pid(name)
        if pid is None:
            raise RuntimeError(f"{name} does not run")
        return pid

    async def _written(self) -> tuple[int, int]:
        row = await self._database.fetchrow(
            "SELECT (pg_current_wal_lsn() - '0/0')::bigint,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        assert row is not None  # noqa: S101 (a SELECT without FROM)
        return row[0], row[1]


class Learners:
    """Requests of learners through the gateway. accounts: those that have one."""

    def __init__(
        self, stack: Stack, keeper: PassiveAnalysisServer, accounts: Sequence[Learner]
    ) -> None:
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(base_url=stack.gateway_url, timeout=60, limits=limits)
        self._channel = grpc.aio.insecure_channel(stack.gateway_address)
        self._stub = upload_pb2_grpc.UploadServiceStub(self._channel)
        self._keeper = keeper
        self._take = SAMPLE_TAKE.read_bytes()
        self._accounts = cycle(accounts)
        # A session must not refresh twice at the same time.
        self._refresh_tokens = [learner.refresh_token for learner in accounts]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._channel.close()

    async def takes_by_form(self) -> None:
        """Upload takes by form, and wait until they are dispatched."""
        await self._dispatched(self._take_by_form)

    async def takes_of_accounts(self) -> None:
        """The same with access tokens."""
        await self._dispatched(lambda: self._take_by_form(next(self._accounts).headers))

    async def logins(self) -> None:
        """Log in with passwords."""
        await many(LOGINS, self._log_in)

    async def refreshes(self) -> None:
        """Exchange refresh tokens."""
        await many(REFRESHES, self._refresh)

    async def takes_by_grpc(self) -> None:
        """Upload takes by gRPC, and wait until they are dispatched."""
        await self._dispatched(self._take_by_grpc)

    async def resumable_takes(self) -> None:
        """Upload takes by resumable uploads, and wait until they are dispatched."""
        await self._dispatched(self._resumable_take)

    async def report(self) -> None:
        """Report results of all dispatched jobs."""
        urls = iter([job["webhook_url"] for job in self._keeper.dispatches()])

        async def one() -> None:
            body = {"analysis_results": RESULT, "analyzer_version": secrets.token_hex(4)}
            answer = await self._http.post(next(urls), json=body)
            answer.raise_for_status()

        await many(len(self._keeper.dispatches()), one)

    async def large_recording(self) -> None:
        """Upload one large recording."""

        async def stream() -> AsyncIterator[pb.UploadAudioRequest]:
            yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=TOKEN_ID))
            yield pb.UploadAudioRequest(chunk=self._unique())
            chunk = pb.UploadAudioRequest(chunk=secrets.token_bytes(CHUNK_BYTES))
            for _ in range(LARGE_BYTES // CHUNK_BYTES):
                yield chunk
            yield pb.UploadAudioRequest(finish=pb.UploadAudioFinish())

        await self._stub.UploadAudio(stream())

    def reading(self, path: str) -> Callable[[], Awaitable[None]]:
        """A function that reads a path many times."""

        async def one() -> None:
            (await self._http.get(path)).raise_for_status()

        return lambda: many(READS, one)

    async def watch(self, exits: AsyncExitStack) -> None:
        """Watch many jobs, each over a separate connection."""
        for job in self._keeper.dispatches()[:WATCHERS]:
            path = f"/tokens/analysis-progress/{job['job_id']}"
            answer = await exits.enter_async_context(self._http.stream("GET", path))
            answer.raise_for_status()

    async def _dispatched(self, one: Callable[[], Awaitable[None]]) -> None:
        before = len(self._keeper.dispatches())
        await many(TAKES, one)
        await asyncio.to_thread(self._keeper.dispatches, before + TAKES)

    async def _take_by_form(self, headers: Mapping[str, str] | None = None) -> None:
        path, files = f"/tokens/{TOKEN_ID}/upload-audio", {"file": ("take.webm", self._unique())}
        answer = await self._http.post(path, files=files, headers=headers)
        answer.raise_for_status()

    async def _log_in(self) -> None:
        credentials = {"email": next(self._accounts).email, "password": PASSWORD}
        (await self._http.post("/auth/login", json=credentials)).raise_for_status()

    async def _refresh(self) -> None:
        token = {"refresh_token": self._refresh_tokens.pop()}
        answer = await self._http.post("/auth/refresh", json=token)
        self._refresh_tokens.append(answer.raise_for_status().json()["refresh_token"])

    async def _take_by_grpc(self) -> None:
        metadata = pb.UploadAudioMetadata(token_id=TOKEN_ID, file_name="take.webm")
        requests = (
            pb.UploadAudioRequest(metadata=metadata),
            pb.UploadAudioRequest(chunk=self._unique()),
            pb.UploadAudioRequest(finish=pb.UploadAudioFinish()),
        )
        await self._stub.UploadAudio(iter(requests))

    async def _resumable_take(self) -> None:
        upload = await self._stub.CreateUpload(pb.CreateUploadRequest(token_id=TOKEN_ID))
        write = pb.WriteUploadRequest(upload_id=upload.upload_id, chunk=self._unique())
        write.finish_write = True
        await self._stub.WriteUpload(iter([write]))

    def _unique(self) -> bytes:
        # The product reuses the result of an identical recording.
        return self._take + secrets.token_bytes(16)


async def many(times: int, one: Callable[[], Awaitable[None]]) -> None:
    """Make this many requests, AT_ONCE of them concurrently."""
    left = iter(range(times))

    async def worker() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())


async def measure_all(stack: Stack, keeper: PassiveAnalysisServer, console: Console) -> Figures:
    """Measure every kind of request, one after the other."""
    database = await asyncpg.connect(stack.database_url)
    accounts = await asyncio.to_thread(sign_up, stack.gateway_url, AT_ONCE)
    learners = Learners(stack, keeper, accounts)
    meter = Meter(stack, database)
    costs: dict[str, Cost] = {}
    parts: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
        "take by form, until dispatched": (TAKES, learners.takes_by_form),
        "take by gRPC, until dispatched": (TAKES, learners.takes_by_grpc),
        "resumable take": (TAKES, learners.resumable_takes),
        "take by form of an account, until dispatched": (TAKES, learners.takes_of_accounts),
        "login": (LOGINS, learners.logins),
        "refresh": (REFRESHES, learners.refreshes),
    }
    try:
        # Warm up.
        await learners.takes_by_form()
        await meter.measure_idle()
        for name, (times, work) in parts.items():
            console.print(f"{name} …", style="dim")
            costs[name] = await meter.measure(times, work)
        console.print("watchers …", style="dim")
        costs["watcher, a quiet minute"], watcher_bytes = await measure_watchers(meter, learners)
        last = {
            "report by webhook": (len(keeper.dispatches()), learners.report),
            "`GET /tokens/1?view=FULL`": (READS, learners.reading("/tokens/1?view=FULL")),
            "`GET /tokens:search`": (READS, learners.reading("/tokens:search?query=sense")),
            "`GET /tokens/analysis-result/…`": (
                READS,
                learners.reading(
                    f"/tokens/analysis-result/{keeper.dispatches()[0]['job_id']}",
                ),
            ),
        }
        for name, (times, work) in last.items():
            console.print(f"{name} …", style="dim")
            costs[name] = await meter.measure(times, work)
        jobs = len(keeper.dispatches())
        row_bytes = await bytes_of_tables(database, jobs)
        console.print("a large recording …", style="dim")
        large = await meter.measure(1, learners.large_recording)
        scale = 1024**3 / LARGE_BYTES
        costs["1 GiB by gRPC"] = Cost(
            {name: seconds * scale for name, seconds in large.seconds.items()},
            large.wal_bytes * scale,
            large.transactions * scale,
        )
        return Figures(costs, row_bytes, watcher_bytes, await connections_of(database))
    finally:
        await learners.close()
        await database.close()


async def measure_watchers(meter: Meter, learners: Learners) -> tuple[Cost, dict[str, float]]:
    """The cost of a watcher in a minute without changes, and its memory by program."""
    async with AsyncExitStack() as exits:
        before = meter.memory()
        await learners.watch(exits)
        after = meter.memory()
        shares = WATCHERS * WATCHED_SECONDS / 60
        cost = await meter.measure(1, lambda: asyncio.sleep(WATCHED_SECONDS))
        bytes_each = {n: (after[n] - before[n]) / WATCHERS for n in ("gateway", "analysis")}
    seconds = {name: spent / shares for name, spent in cost.seconds.items()}
    return Cost(seconds, 0.0, 0.0), bytes_each


async def bytes_of_tables(database: asyncpg.Connection, jobs: int) -> dict[str, float]:
    """Bytes of each table with its indexes, per job."""
    sizes = "SELECT pg_total_relation_size($1::regclass)"
    names = ("analysis.jobs", "analysis.attempts", "upload.uploads")
    return {name: await database.fetchval(sizes, name) / jobs for name in names}


async def connections_of(database: asyncpg.Connection) -> dict[str, int]:
    """Connections to PostgreSQL by application name."""
    rows = await database.fetch(
        "SELECT application_name, count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND application_name <> '' GROUP BY 1 ORDER BY 1"
    )
    return {row[0]: row[1] for row in rows}


def show(figures: Figures, console: Console) -> None:
    """Print the tables."""
    table = Table(title="CPU milliseconds per request")
    for column in ("", *PROGRAMS, "all", "a second per core", "WAL", "writing transactions"):
        table.add_column(column, justify="right" if column else "left")
    for name, cost in figures.costs.items():
        spent = (*(cost.seconds[program] for program in PROGRAMS), cost.total_seconds)
        table.add_row(
            name,
            *(f"{seconds * 1000:.2f}" for seconds in spent),
            f"{1 / cost.total_seconds:.1f}" if cost.total_seconds else "",
            f"{cost.wal_bytes / 1000:.1f} kB",
            f"{cost.transactions:.1f}",
        )
    console.print(table)
    for title, values in (
        ("Bytes of a job, with indexes", figures.row_bytes),
        ("Memory of a watcher", figures.watcher_bytes),
        ("Connections to PostgreSQL", figures.connections),
    ):
        text = ", ".join(f"{name} {value:,.0f}" for name, value in values.items())
        console.print(f"{title}: {text}", highlight=False)


def main() -> None:
    """Run on a separate stack."""
    argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__).parse_args()
    console = Console(width=160)
    with passive_analysis_server() as keeper, tempfile.TemporaryDirectory() as folder:
        environment = {
            **ENVIRONMENT,
            "TARGET_SERVER_URL": keeper.url,
            "ANALYSIS_TIMEOUT_SECONDS": "3600",
            # All reports come from one address, as fast as they are accepted.
            "GATEWAY_WEBHOOK_REQUESTS_PER_SECOND": "100000",
            "GATEWAY_WEBHOOK_BURST": "100000",
        }
        with Stack.on_free_ports(
            folder, environment, without=("analyzer",), durable=True, analysis_workers=1
        ) as stack:
            figures = asyncio.run(measure_all(stack, keeper, console))
    show(figures, console)
    capacity_page.write(figures)


if __name__ == "__main__":
    main()
