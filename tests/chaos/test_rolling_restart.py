"""A rolling restart under load: clients that retry see no error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from services.registry import PROGRAMS
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.chaos.cluster_fixture import Cluster, Take, client_channel

ALL = (*PROGRAMS, *(f"{name}-2" for name in PROGRAMS))


@pytest.mark.timeout(300)
def test_no_error_reaches_a_client_that_retries(cluster: Cluster, is_long: bool) -> None:
    first, restarted = cluster.upload(), threading.Event()
    earlier_errors = list(cluster.retried_errors)
    takes: list[Take] = []
    calls = 0

    def repeat(call: Callable[[grpc.Channel], None]) -> int:
        done = 0
        with client_channel(cluster.stack.gateway_address) as channel:
            while not restarted.is_set():
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
        assert cluster.watch_until_end(take)[0] == "completed"

    with ThreadPoolExecutor(6) as pool:
        loads = [
            pool.submit(repeat, call)
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
            for name in ALL if is_long else PROGRAMS:
                cluster.stack.restart(name)
            errors_of_services = cluster.retried_errors[len(earlier_errors) :]
            # There is only one gateway: a client retries an upload that its restart interrupts.
            cluster.stack.restart("gateway")
        finally:
            restarted.set()
        calls = sum(load.result() for load in loads)
    assert calls
    assert errors_of_services == []
    codes = {error.code() for error in cluster.retried_errors[len(earlier_errors) :]}
    assert codes <= {grpc.StatusCode.UNAVAILABLE}
    cluster.wait_until_ended(takes)
    assert {row["state"] for row in cluster.jobs(takes).values()} == {"completed"}
