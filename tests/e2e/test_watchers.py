"""Watchers see the end of a job, whether they come early or late, and receive heartbeats."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import grpc
import pytest

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Json, Product
from tests.e2e.waiting import PATIENCE_SECONDS


def test_early_late_and_slow_watchers_all_see_the_end(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    slow, is_watching = product.states(job_id), threading.Event()
    next(slow)

    def watch() -> list[Json]:
        states = product.states(job_id)
        first = next(states)
        is_watching.set()
        return [first, *states]

    with ThreadPoolExecutor() as pool:
        early = pool.submit(watch)
        assert is_watching.wait(PATIENCE_SECONDS)
        analysis_server.report(job_id, {"analysis_results": {"score": 1}})
        late = list(product.states(job_id))
        assert early.result()[-1]["status"] == "completed"
    assert [state["status"] for state in late] == ["completed"]
    assert list(slow)[-1]["result"] == {"score": 1}


def test_the_state_is_repeated_as_a_heartbeat(product: Product, held_token: int) -> None:
    states = product.states(product.upload_sample(held_token))
    # At most three states come before the job waits: uploading, queued, dispatched.
    first_five = list(islice(states, 5))
    assert first_five[-1] == first_five[-2]


def test_a_watch_of_an_unknown_job_is_not_found(channel: grpc.Channel) -> None:
    stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
    request = analysis_pb2.WatchAnalysisRequest(job_id="01a20810-e3b2-705b-90e5-b52e27a5d578")
    with pytest.raises(grpc.RpcError) as error:
        next(iter(stub.WatchAnalysis(request)))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
