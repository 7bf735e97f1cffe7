"""A constant load by every kind of client, which counts failed calls."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import httpx

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.chaos.cluster_fixture import PATIENCE_SECONDS, Cluster, Take, client_channel, eventually
from tests.e2e.product import plain_http

# Longer than the gateway waits for a service.
HTTP_SECONDS = 20.0
# Between two calls of a client, so that replicas do not start on a machine without a free core,
# and that the fake analysis server keeps pace with the takes.
PAUSE_SECONDS = 0.2


class Load:
    """The calls so far.

    done: the number of calls of each kind of client, failed ones included.
    failed: kind and error of each failed call of clients that follow the contract.
    takes: the takes whose upload succeeded.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.failed: list[tuple[str, str]] = []
        self.takes: list[Take] = [cluster.upload()]

    def wait_for_more(self, count: int = 20, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for `count` more calls of each kind of read, and a quarter as many uploads."""
        before = Counter(self.done)
        kinds = (self.read_by_grpc, self.read_by_http)
        wanted = {kind.__name__: before[kind.__name__] + count for kind in kinds}
        wanted["upload"] = before["upload"] + count // 4
        eventually(
            lambda: all(self.done[name] >= number for name, number in wanted.items()),
            seconds,
            lambda: (wanted, self.done, self.failed),
        )

    def assert_all_takes_complete(self) -> None:
        """Wait until the job of every uploaded take has completed."""
        self._cluster.wait_until_ended(self.takes)
        jobs = self._cluster.jobs(self.takes).values()
        assert {row["state"] for row in jobs} == {"completed"}

    @contextmanager
    def running(self) -> Iterator[None]:
        clients = (
            self.read_by_grpc,
            self.read_by_grpc,
            self.read_by_http,
            self.read_by_http,
            self.upload,
            self.upload,
        )
        with ThreadPoolExecutor(len(clients)) as pool:
            loads = [pool.submit(self._repeat, client) for client in clients]
            try:
                yield
            finally:
                self._stopping.set()
            for load in loads:
                load.result()

    def read_by_grpc(self) -> Iterator[Callable[[], object]]:
        with client_channel(self._cluster.stack.gateway_address) as channel:
            catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
            analysis = analysis_pb2_grpc.AnalysisServiceStub(channel)
            wanted = analysis_pb2.GetAnalysisRequest(job_id=self.takes[0].job_id)
            while True:
                yield lambda: catalog.GetToken(catalog_pb2.GetTokenRequest(id=1))
                yield lambda: analysis.GetAnalysis(wanted)

    def read_by_http(self) -> Iterator[Callable[[], object]]:
        url = self._cluster.stack.gateway_url
        with plain_http(url, HTTP_SECONDS) as client:
            while True:
                yield lambda: _get(client, "/tokens/1")
                yield lambda: _get(client, f"/tokens/analysis-result/{self.takes[0].job_id}")

    def upload(self) -> Iterator[Callable[[], object]]:
        while True:
            yield lambda: self.takes.append(self._cluster.upload())

    def _repeat(self, client: Callable[[], Iterator[Callable[[], object]]]) -> None:
        name = client.__name__
        for call in client():
            if self._stopping.is_set():
                return
            try:
                call()
            except (grpc.RpcError, httpx.HTTPError) as error:
                self.failed.append((name, _describe(error)))
            with self._lock:
                self.done[name] += 1
            self._stopping.wait(PAUSE_SECONDS)


def _get(client: httpx.Client, path: str) -> None:
    client.get(path).raise_for_status()


def _describe(error: grpc.RpcError | httpx.HTTPError) -> str:
    if isinstance(error, grpc.RpcError):
        return f"{error.code()}: {error.details()}"
    return repr(error)
