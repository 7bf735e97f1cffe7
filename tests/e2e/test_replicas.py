"""Every service runs as several replicas; one can die or restart at any time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import httpx
import pytest

from stack import probes
from stack.stack import Stack
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product, plain_http
from tests.e2e.waiting import eventually
from tests.stacks import ON_CLUSTER, new_stack

# Between two calls of a client, so that replicas do not start on a machine without a free core.
PAUSE_SECONDS = 0.01
Call = Callable[[httpx.Client], httpx.Response]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, analysis_server: AnalysisServer
) -> Iterator[Stack]:
    with new_stack(
        tmp_path_factory.mktemp("replicas"),
        {"TARGET_SERVER_URL": analysis_server.url},
        without=("analyzer",),
        replicas=2,
        analysis_workers=1,
    ) as stack:
        yield stack


@pytest.fixture(autouse=True)
def ready_before(stack: Stack) -> None:
    for name in ("catalog", "catalog-2"):
        stack.wait_ready(name)
        stack.wait_routed(name)


def read(client: httpx.Client) -> httpx.Response:
    return client.get("/tokens/1")


def create(client: httpx.Client) -> httpx.Response:
    return client.post("/actors", json={"name": f"actor {uuid4()}"})


@contextmanager
def constant_calls(stack: Stack, *calls: Call) -> Iterator[Counter[int]]:
    """Repeat these calls while the context lasts; yields the number of answers of each status."""
    statuses: Counter[int] = Counter()
    enough = threading.Event()

    def repeat(call: Call) -> None:
        with plain_http(stack.gateway_url) as client:
            while not enough.wait(PAUSE_SECONDS):
                statuses[call(client).status_code] += 1

    with ThreadPoolExecutor(len(calls)) as executor:
        running = [executor.submit(repeat, call) for call in calls]
        try:
            yield statuses
        finally:
            enough.set()
            for each in running:
                each.result()


def holds_calls(stack: Stack, program: str) -> bool:
    """Whether a gateway waits for answers of a replica."""
    no_calls = f"catalog::{stack.address(program)}::rq_active::0"
    sockets = map(stack.admin_socket, stack.settings.gateways)
    return any(no_calls not in probes.clusters(socket) for socket in sockets)


def answers_after_death(product: Product, call: Call) -> list[httpx.Response]:
    """The responses to calls; at least one call was at a replica when it died."""
    stack = product.stack
    is_holding = partial(holds_calls, stack, "catalog-2")
    with ThreadPoolExecutor(16) as executor:
        answers: list[Future[httpx.Response]] = []
        stack.signal("catalog-2", "STOP")
        try:
            while not is_holding():
                assert len(answers) < 16, "no call was sent to the frozen replica"
                answers.append(executor.submit(call, product.gateway))
                # Either the other replica answers the call, or the frozen one holds it.
                eventually(lambda: answers[-1].done() or is_holding())
        finally:
            stack.kill("catalog-2")
        return [answer.result() for answer in answers]


@pytest.mark.parametrize("end", [Stack.kill, Stack.restart], ids=["killed", "restarted"])
def test_no_read_fails_while_replicas_restart_one_by_one(
    stack: Stack, end: Callable[[Stack, str], None]
) -> None:
    with constant_calls(stack, read, read, read, read) as statuses:
        for name in ("catalog", "catalog-2"):
            end(stack, name)
            # Else the gateway knows no replica when the next one ends.
            stack.wait_routed(name)
    assert set(statuses) == {200}


def test_a_read_is_retried_when_its_replica_dies(product: Product) -> None:
    answers = answers_after_death(product, read)
    assert [answer.status_code for answer in answers] == [200] * len(answers)


def test_a_write_is_not_retried(product: Product) -> None:
    last = answers_after_death(product, create)[-1]
    assert last.status_code == 503
    assert last.headers["retry-after"]


def test_a_take_is_analysed_with_one_replica_of_each_service_left(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, {"analysis_results": {"score": 1}}))
    stopped = ("catalog", "upload-2", "analysis")
    for name in stopped:
        product.stack.stop(name)
    try:
        assert product.final_result(product.upload_sample(held_token))["status"] == "completed"
    finally:
        for name in stopped:
            product.stack.start(name)
            product.stack.wait_ready(name)


@pytest.mark.skipif(ON_CLUSTER, reason="the other gateway answers instead")
def test_a_frozen_gateway_responds_when_it_continues(stack: Stack, gateway: httpx.Client) -> None:
    stack.wait_ready("gateway")
    stack.signal("gateway", "STOP")
    try:
        with pytest.raises(httpx.ReadTimeout):
            gateway.get("/healthz", timeout=0.5)
    finally:
        stack.signal("gateway", "CONT")
    stack.wait_ready("gateway")


def test_a_killed_gateway_leaves_no_process(stack: Stack) -> None:
    stack.kill("gateway")
    stack.wait_ready("gateway")
    assert "Address already in use" not in stack.logs("gateway")


def test_separate_workers_dispatch_takes(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    product.stack.stop("analysis-worker")
    job_id = product.upload_sample(held_token)
    assert product.result(job_id)["progress"] == 70
    product.stack.start("analysis-worker")
    assert analysis_server.job(job_id)["job_id"] == job_id
