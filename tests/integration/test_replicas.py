"""Several replicas of each service: one that is gone is not missed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from stack.seed import SAMPLE_TAKE
from stack.stack import Stack

END_SECONDS = 30


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with Stack.on_free_ports(folder, replicas=2, analysis_workers=1) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.gateway_url, timeout=END_SECONDS) as client:
        yield client


@contextmanager
def reading(stack: Stack) -> Iterator[Counter[int]]:
    """Read a token again and again; counts the statuses."""
    statuses: Counter[int] = Counter()
    ending = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=stack.gateway_url) as client:
            while not ending.is_set():
                statuses[client.get("/tokens/1").status_code] += 1

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_replicas_and_workers_have_programs_of_their_own(stack: Stack) -> None:
    assert stack.programs == (
        *("postgres", "s3"),
        *("catalog", "catalog-2", "upload", "upload-2", "analysis", "analysis-2"),
        *("analysis-worker", "analyzer", "gateway"),
    )
    addresses = [*stack.addresses("catalog"), *stack.addresses("analysis")]
    assert len({*addresses, stack.address("analysis-worker")}) == 5


@pytest.mark.parametrize("end", [Stack.kill, Stack.restart], ids=["killed", "restarted"])
def test_no_read_fails_while_replicas_go_one_by_one(
    stack: Stack, end: Callable[[Stack, str], None]
) -> None:
    with reading(stack) as statuses:
        for name in ("catalog", "catalog-2"):
            end(stack, name)
            stack.wait_ready(name)
    assert set(statuses) == {200}


def test_a_take_is_analysed_with_one_replica_of_each_service_left(
    stack: Stack, client: httpx.Client
) -> None:
    stopped = ("catalog", "upload-2", "analysis")
    for name in stopped:
        stack.stop(name)
    try:
        with SAMPLE_TAKE.open("rb") as recording:
            answer = client.post("/tokens/1/upload-audio", files={"file": recording})
        assert answer.status_code == 200, answer.text
        states = client.get(f"/tokens/analysis-progress/{answer.json()['job_id']}").text
        assert '"status":"completed"' in states
    finally:
        for name in stopped:
            stack.start(name)
            stack.wait_ready(name)


def test_a_frozen_gateway_answers_when_it_goes_on(stack: Stack, client: httpx.Client) -> None:
    stack.signal("gateway", "STOP")
    try:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/healthz", timeout=0.5)
    finally:
        stack.signal("gateway", "CONT")
    stack.wait_ready("gateway")


def test_nothing_of_a_killed_gateway_is_left(stack: Stack) -> None:
    stack.kill("gateway")
    stack.wait_ready("gateway")
    assert "Address already in use" not in stack.logs("gateway")
