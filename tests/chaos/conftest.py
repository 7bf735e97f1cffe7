"""Clusters whose programs the tests kill. `CHAOS=long` runs the tests at full length."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.ports import free_ports
from tests.chaos.cluster_fixture import AUDIT, Cluster, FakeAnalysisServer
from tests.stacks import new_stack, outside

MAX_ATTEMPTS = 10

ENVIRONMENT = {
    "DISPATCH_TIMEOUT_SECONDS": "2",
    "DISPATCH_BACKOFF_SECONDS": "0.2",
    "DISPATCH_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "ANALYSIS_TIMEOUT_SECONDS": "3",
    "ANALYSIS_MAX_SILENCES": "3",
    "STATUS_POLL_SECONDS": "1",
    "BREAKER_PAUSE_SECONDS": "0.5",
    "UPLOAD_TIMEOUT_SECONDS": "10",
    "HEARTBEAT_SECONDS": "2",
}

MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def is_long() -> bool:
    return os.environ.get("CHAOS") == "long"


@pytest.fixture(scope="package")
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeCluster]:
    """Makes clusters of two replicas of each service and two workers.

    only: the one behaviour of the fake analysis server; by default it has all.
    """
    with ExitStack() as resources:

        def make(only: str | None = None, **environment: str) -> Cluster:
            folder: Path = tmp_path_factory.mktemp("cluster")
            analysis_server = FakeAnalysisServer(
                free_ports(1)[0], folder / "journal", only, outside()
            )
            analysis_server.start()
            resources.callback(analysis_server.kill)
            chosen = {**ENVIRONMENT, "TARGET_SERVER_URL": analysis_server.url, **environment}
            stack = new_stack(
                folder / "stack",
                chosen,
                without=("analyzer",),
                durable=True,
                replicas=2,
                analysis_workers=2,
            )
            cluster = Cluster(resources.enter_context(stack), analysis_server)
            for statement in AUDIT.split(";\nCREATE"):
                cluster.query(statement if "TABLE" in statement else f"CREATE{statement}")
            return cluster

        yield make


@pytest.fixture(scope="package")
def shared_cluster(make_cluster: MakeCluster) -> Cluster:
    """A cluster for all tests that restore its state."""
    return make_cluster("accepts", DISPATCH_TIMEOUT_SECONDS="20", ANALYSIS_TIMEOUT_SECONDS="60")


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, with an analysis server that works correctly."""
    yield shared_cluster
    shared_cluster.analysis_server.behave("accepts")
