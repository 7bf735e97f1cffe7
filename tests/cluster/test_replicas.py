"""One of two replicas dies, is disconnected or is replaced: clients that retry see no error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from services.registry import PROGRAMS
from sori.upload.v1 import upload_pb2 as pb
from tests.chaos.cluster_fixture import client_channel, eventually
from tests.cluster.conftest import Hosted
from tests.cluster.load import Load
from tests.e2e.uploading import MIB, Uploader, wav

EVERYTHING = (*PROGRAMS, *(f"{name}-2" for name in PROGRAMS), "gateway", "gateway-2")


@pytest.fixture
def load(cluster: Hosted) -> Iterator[Load]:
    """A constant load. After the test, the job of every uploaded take must complete."""
    for name in EVERYTHING:
        cluster.wait_until_serving(name)
    load = Load(cluster.product)
    with load.running():
        load.wait_for_more(4)
        yield load
    load.assert_all_takes_complete()


@contextmanager
def disconnected(cluster: Hosted, name: str) -> Iterator[None]:
    cluster.cut(name)
    try:
        yield
    finally:
        cluster.heal(name)


@pytest.mark.timeout(300)
def test_a_rollout_fails_no_request(cluster: Hosted, load: Load) -> None:
    earlier_errors = len(cluster.product.retried_errors)
    for name in EVERYTHING:
        cluster.replace(name)
        load.wait_for_more(4)
    assert load.failed == []
    # The clients did not even have to retry.
    assert cluster.product.retried_errors[earlier_errors:] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_replica_fails_no_request(cluster: Hosted, load: Load, name: str) -> None:
    cluster.stack.kill(name)
    load.wait_for_more()
    assert load.failed == []


def test_clients_retry_calls_when_a_gateway_is_killed(cluster: Hosted, load: Load) -> None:
    cluster.stack.kill("gateway")
    load.wait_for_more()
    assert_only_plain_clients_failed(load)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_disconnected_replica_fails_no_request(cluster: Hosted, load: Load, name: str) -> None:
    with disconnected(cluster, name):
        load.wait_for_more()
        assert load.failed == []


def test_clients_retry_calls_when_a_gateway_is_disconnected(cluster: Hosted, load: Load) -> None:
    with disconnected(cluster, "gateway-2"):
        load.wait_for_more()
        assert_only_plain_clients_failed(load)


def test_uploaded_takes_survive_a_disconnected_postgresql(cluster: Hosted, load: Load) -> None:
    with disconnected(cluster, "postgres"):
        eventually(lambda: not cluster.stack.is_ready("catalog"))
    load.wait_for_more()


def test_a_replica_that_starts_later_receives_calls(cluster: Hosted, load: Load) -> None:
    cluster.stack.stop("catalog-2")
    load.wait_for_more()
    cluster.hosts.move("catalog-2")
    before = calls_of(cluster, "catalog-2")
    cluster.stack.start("catalog-2")
    eventually(lambda: calls_of(cluster, "catalog-2") > before + 20)
    assert load.failed == []


def test_an_upload_resumes_at_another_replica_when_its_host_is_disconnected(
    cluster: Hosted,
) -> None:
    content = wav(6 * MIB)
    with client_channel(cluster.stack.address("upload-2")) as channel:
        elsewhere = Uploader(channel)
        with grpc.insecure_channel(cluster.stack.address("upload")) as first:
            upload = Uploader(first).create(1)
            Uploader(first).write(upload.upload_id, 0, content[: 5 * MIB])
        with disconnected(cluster, "upload"):
            size = elsewhere.get(upload.upload_id).committed_size
            assert size == 5 * MIB
            upload = elsewhere.write(upload.upload_id, size, content[size:], finish=True)
    assert upload.state == pb.UPLOAD_STATE_COMPLETED


def calls_of(cluster: Hosted, name: str) -> int:
    """The number of calls that a replica has received."""
    return cluster.stack.logs(name).count('"event": "call"')


def assert_only_plain_clients_failed(load: Load) -> None:
    """Only HTTP clients, which do not retry, see errors, until the balancer notices the failure."""
    assert len(load.failed) <= 4
    assert {kind for kind, _ in load.failed} <= {"read_by_http"}
