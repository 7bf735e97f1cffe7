"""Faults of PostgreSQL: watchers see the end of a job despite restarts and broken connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.ports import free_ports
from stack.stack import Stack
from tests.chaos.cluster_fixture import Cluster, FakeAnalysisServer, eventually
from tests.chaos.conftest import ENVIRONMENT
from tests.chaos.half_open_proxy import HalfOpenProxy
from tests.databases import copy_database

SOON_SECONDS = 10.0

CLOSE_ALL_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def cluster_with_proxy(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, HalfOpenProxy]]:
    """A cluster whose services reach PostgreSQL through a proxy."""
    folder: Path = tmp_path_factory.mktemp("database-proxy")
    analysis_port, proxy_port = free_ports(2)
    analysis_server = FakeAnalysisServer(analysis_port, folder / "journal", "is_silent")
    environment = {
        **ENVIRONMENT,
        "TARGET_SERVER_URL": analysis_server.url,
        "DATABASE_URL": f"postgresql://sori@127.0.0.1:{proxy_port}/sori",
        "ANALYSIS_TIMEOUT_SECONDS": "600",
    }
    copy_database(folder / "stack")
    stack = Stack.on_free_ports(
        folder / "stack", environment, without=("analyzer", "accounts"), analysis_workers=1
    )
    proxy = HalfOpenProxy(proxy_port, stack.settings.postgres_port)
    proxy.start()
    analysis_server.start()
    with stack:
        yield Cluster(stack, analysis_server), proxy
    analysis_server.kill()
    proxy.stop()


@pytest.mark.timeout(180)
def test_watchers_see_the_end_after_three_restarts_of_postgresql(cluster: Cluster) -> None:
    cluster.analysis_server.behave("is_silent")
    takes = cluster.upload_many(10)
    watching = [threading.Event() for _ in takes]
    with ThreadPoolExecutor(len(takes)) as pool:
        ends: list[Future[tuple[str, float]]] = [
            pool.submit(cluster.watch_until_end, take, event)
            for take, event in zip(takes, watching, strict=True)
        ]
        for event in watching:
            event.wait()
        eventually(lambda: all(cluster.analysis_server.dispatches(take.job_id) for take in takes))
        for _ in range(3):
            cluster.stack.restart("postgres")
        cluster.query(CLOSE_ALL_CONNECTIONS)
        for take in takes:
            cluster.report(take)
        seen = [end.result() for end in ends]
    assert {status for status, _ in seen} == {"completed"}
    jobs = cluster.jobs(takes)
    for take, (_, time_seen) in zip(takes, seen, strict=True):
        assert time_seen - jobs[take.job_id]["end_time"].timestamp() < SOON_SECONDS


@pytest.mark.timeout(180)
def test_watchers_see_the_end_when_the_listening_connection_is_frozen(
    cluster_with_proxy: tuple[Cluster, HalfOpenProxy],
) -> None:
    cluster, proxy = cluster_with_proxy
    take, watching = cluster.upload(), threading.Event()
    eventually(lambda: cluster.analysis_server.dispatches(take.job_id) > 0)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(cluster.watch_until_end, take, watching)
        watching.wait()
        assert proxy.freeze(b"analysis-listen") > 0
        cluster.query(
            "UPDATE analysis.jobs SET state = 'cancelled', failure_reason = 'CANCELLED',"
            " due_time = NULL, deadline = NULL, end_time = now(), revision = revision + 1"
            " WHERE job_id = $1",
            take.job_id,
        )
        status, time_seen = end.result()
    assert status == "failed"
    end_time = cluster.jobs([take])[take.job_id]["end_time"].timestamp()
    assert time_seen - end_time < SOON_SECONDS
