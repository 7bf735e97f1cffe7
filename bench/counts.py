"""What a take costs in messages: statements, transactions, rpcs and requests to S3.

Unlike times, these counts do not depend on the machine, so tests can limit them.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from bench.load import takes
from bench.postgres_proxy import PostgresProxy
from bench.rig import Rig, rig
from bench.sink import REQUESTS_PATH
from services.registry import SERVICE_NAMES
from stack.ports import free_ports

_IDLE_SECONDS = 4.0
_WARM_UP = 20
# The services write their logs, and PostgreSQL its counters, with a delay.
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class TakeCosts:
    """The costs of one take, from upload to completed, by the parts that cause them.

    statements: SQL statements by service, including BEGIN and COMMIT, without pings.
    pings: empty statements by service that only test a connection.
    round_trips: waits for PostgreSQL by service.
    transactions: transactions that wrote.
    rpcs: calls by method. s3: requests by operation.
    """

    statements: Mapping[str, float]
    pings: Mapping[str, float]
    round_trips: Mapping[str, float]
    transactions: float
    rpcs: Mapping[str, float]
    s3: Mapping[str, float]

    @property
    def all_statements(self) -> float:
        """SQL statements of all services."""
        return sum(self.statements.values())

    @property
    def all_round_trips(self) -> float:
        """Waits for PostgreSQL of all services."""
        return sum(self.round_trips.values())

    @property
    def all_rpcs(self) -> float:
        """Calls of all methods."""
        return sum(self.rpcs.values())

    @property
    def all_s3(self) -> float:
        """Requests to S3 of all operations."""
        return sum(self.s3.values())


@dataclass(frozen=True)
class _Totals:
    """All counts at one moment, by kind and name."""

    counts: Counter[tuple[str, str]]
    seconds: float


class TakeCounter:
    """Counts takes on a stack whose services reach PostgreSQL through a proxy."""

    def __init__(self, machine: Rig, proxy: PostgresProxy) -> None:
        self.machine = machine
        self._proxy = proxy
        self._send(_WARM_UP, 4)
        before = self._totals()
        time.sleep(_IDLE_SECONDS)
        self._idle = _difference(before, self._totals())

    def count(self, takes_sent: int, at_once: int, port: int | None = None) -> TakeCosts:
        """The average costs of this many takes; those of idle services are subtracted.

        port: of a peer; default: our gateway's.
        """
        before = self._totals()
        self._send(takes_sent, at_once, port)
        spent = _difference(before, self._totals())
        share = spent.seconds / self._idle.seconds
        each = {
            key: max(0.0, total - share * self._idle.counts[key]) / takes_sent
            for key, total in spent.counts.items()
        }

        def of(kind: str) -> dict[str, float]:
            return {name: value for (own, name), value in each.items() if own == kind and value}

        return TakeCosts(
            of("statements"),
            of("pings"),
            of("round trips"),
            sum(of("transactions").values()),
            of("rpcs"),
            of("s3"),
        )

    def _send(self, takes_sent: int, at_once: int, port: int | None = None) -> None:
        settings = takes.Settings(
            port=self.machine.ours.port if port is None else port,
            analysis_port=self.machine.analysis_port,
            takes=takes_sent,
            at_once=at_once,
            one_by_one=True,
            pids={},
            warm_up=0,
        )
        asyncio.run(takes.measure(settings))

    def _totals(self) -> _Totals:
        time.sleep(_SETTLE_SECONDS)
        counts: Counter[tuple[str, str]] = Counter()
        sent = self._proxy.sent.copy()
        for kind, counted in (
            ("statements", sent.statements),
            ("pings", sent.pings),
            ("round trips", sent.round_trips),
            ("s3", self._s3_requests()),
            ("rpcs", self._rpcs()),
        ):
            counts.update({(kind, name): total for name, total in counted.items()})
        counts["transactions", ""] = asyncio.run(self._transactions())
        return _Totals(counts, time.monotonic())

    def _s3_requests(self) -> Mapping[str, int]:
        with urllib.request.urlopen(self.machine.s3_url + REQUESTS_PATH) as answer:  # noqa: S310
            requests: dict[str, int] = json.load(answer)
        return requests

    def _rpcs(self) -> Mapping[str, int]:
        """Calls by method: each server logs one line for each call."""
        calls: Counter[str] = Counter()
        for service in SERVICE_NAMES:
            for line in self.machine.stack.logs(service).splitlines():
                if '"event": "call"' in line:
                    calls[json.loads(line)["method"].rpartition("/")[2]] += 1
        return calls

    async def _transactions(self) -> int:
        """The next transaction id; only transactions that write get one."""
        port = self.machine.stack.settings.postgres_port
        connection = await asyncpg.connect(f"postgresql://sori@127.0.0.1:{port}/sori")
        try:
            statement = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            return int(await connection.fetchval(statement))
        finally:
            await connection.close()


@contextmanager
def take_counter() -> Iterator[TakeCounter]:
    """A stack of its own, and the counter of its takes."""
    (port,) = free_ports(1)
    with PostgresProxy(port) as proxy, rig(postgres_proxy=proxy) as machine:
        yield TakeCounter(machine, proxy)


def _difference(before: _Totals, after: _Totals) -> _Totals:
    return _Totals(after.counts - before.counts, after.seconds - before.seconds)
