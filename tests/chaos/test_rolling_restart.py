"""A rolling restart under load: clients that retry see no error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest

from services.registry import PROGRAMS
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.chaos.cluster_fixture import Cluster, Take, client_channel

ALL = (*PROGRAMS, *(f"{name}-2" for name in PROGRAMS))
# Between two calls of a client, so that replicas do not start on a machine without a free core.
PAUSE_SECONDS = 0.01


class Clients:
    """Clients that call until everything has restarted."""

    def __init__(self, cluster: Cluster) -> None:
        self.takes: list[Take] = []
        self.restarted = threading.Event()
        self._cluster = cluster
        self._first = cluster.upload()
        self._calls = (
            self.read_token,
            self.read_analysis,
            self.upload,
            self.read_token,
            self.read_analysis,
            self.upload_and_watch,
        )

    def start(self, pool: ThreadPoolExecutor) -> list[Future[int]]:
        """Start them; each returns how many calls it made."""
        return [pool.submit(self._repeat, call) for call in self._calls]

    def read_token(self, channel: grpc.Channel) -> None:
        catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(catalog_pb2.GetTokenRequest(id=1))

    def read_analysis(self, channel: grpc.Channel) -> None:
        request = analysis_pb2.GetAnalysisRequest(job_id=self._first.job_id)
        analysis_pb2_grpc.AnalysisServiceStub(channel).GetAnalysis(request)

    def upload(self, _: grpc.Channel) -> None:
        self.takes.append(self._cluster.upload())

    def upload_and_watch(self, _: grpc.Channel) -> None:
        take = self._cluster.upload()
        self.takes.append(take)
        assert self._cluster.watch_until_end(take)[0] == "completed"

    def _repeat(self, call: Callable[[grpc.Channel], None]) -> int:
        done = 0
        with client_channel(self._cluster.stack.gateway_address) as channel:
            while not self.restarted.wait(PAUSE_SECONDS):
                call(channel)
                done += 1
        return done


@pytest.mark.timeout(300)
def test_no_error_reaches_a_client_that_retries(cluster: Cluster, is_long: bool) -> None:
    clients = Clients(cluster)
    earlier_errors = list(cluster.retried_errors)
    with ThreadPoolExecutor(6) as pool:
        loads = clients.start(pool)
        try:
            for name in ALL if is_long else PROGRAMS:
                cluster.stack.restart(name)
            errors_of_services = cluster.retried_errors[len(earlier_errors) :]
            # There is one gateway: the client repeats an upload that its restart cuts.
            cluster.stack.restart("gateway")
        finally:
            clients.restarted.set()
        calls = sum(load.result() for load in loads)
    assert calls
    assert errors_of_services == []
    codes = {error.code() for error in cluster.retried_errors[len(earlier_errors) :]}
    assert codes <= {grpc.StatusCode.UNAVAILABLE}
    cluster.wait_until_ended(clients.takes)
    assert {row["state"] for row in cluster.jobs(clients.takes).values()} == {"completed"}
