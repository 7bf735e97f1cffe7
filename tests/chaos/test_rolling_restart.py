"""Everything restarts, one after another, under load: clients that retry see no error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.chaos.cluster_fixture import Cluster, Take, client_channel

ONE_OF_EACH = ("catalog", "upload", "analysis", "analysis-worker")
# Between two calls of a client, so that replicas do not start on a machine without a free core.
PAUSE_SECONDS = 0.01
ALL = (*ONE_OF_EACH, *(f"{name}-2" for name in ONE_OF_EACH))


@pytest.mark.timeout(300)
def test_no_error_reaches_a_client_that_retries(cluster: Cluster, is_long: bool) -> None:
    first, restarted = cluster.upload(), threading.Event()
    before = list(cluster.repeats)
    takes: list[Take] = []
    calls = 0

    def again_and_again(call: Callable[[grpc.Channel], None]) -> int:
        done = 0
        with client_channel(cluster.stack.gateway_address) as channel:
            while not restarted.wait(PAUSE_SECONDS):
                call(channel)
                done += 1
        return done

    def read_token(channel: grpc.Channel) -> None:
        catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(catalog_pb2.GetTokenRequest(id=1))

    def read_analysis(channel: grpc.Channel) -> None:
        request = analysis_pb2.GetAnalysisRequest(job_id=first.job_id)
        analysis_pb2_grpc.AnalysisServiceStub(channel).GetAnalysis(request)

    def upload(_: grpc.Channel) -> None:
        takes.append(cluster.upload())

    def upload_and_watch(_: grpc.Channel) -> None:
        take = cluster.upload()
        takes.append(take)
        assert cluster.watched_end(take)[0] == "completed"

    with ThreadPoolExecutor(6) as pool:
        loads = [
            pool.submit(again_and_again, call)
            for call in (
                read_token,
                read_analysis,
                upload,
                read_token,
                read_analysis,
                upload_and_watch,
            )
        ]
        try:
            for name in ALL if is_long else ONE_OF_EACH:
                cluster.stack.restart(name)
            repeated_by_services = cluster.repeats[len(before) :]
            # There is only one of it: an upload that it cuts is repeated by the client.
            cluster.stack.restart("gateway")
        finally:
            restarted.set()
        calls = sum(load.result() for load in loads)
    assert calls
    assert repeated_by_services == []
    repeated = {error.code() for error in cluster.repeats[len(before) :]}
    assert repeated <= {grpc.StatusCode.UNAVAILABLE}
    cluster.await_ends(takes)
    assert {row["state"] for row in cluster.jobs(takes).values()} == {"completed"}
