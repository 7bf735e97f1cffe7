"""A cluster of two replicas of every program, each on its own host, behind two gateways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stack.namespaces import Namespaces, reason_to_skip
from stack.ports import free_ports
from stack.stack import Stack
from tests.chaos.cluster_fixture import Cluster, FakeAnalysisServer
from tests.databases import copy_database
from tests.stacks import ON_CLUSTER, network

ENVIRONMENT = {
    "DISPATCH_TIMEOUT_SECONDS": "3",
    "DISPATCH_BACKOFF_SECONDS": "0.2",
    "ANALYSIS_TIMEOUT_SECONDS": "5",
    "ANALYSIS_MAX_SILENCES": "5",
    "BREAKER_PAUSE_SECONDS": "0.5",
    "UPLOAD_TIMEOUT_SECONDS": "10",
    "UPLOAD_IDLE_SECONDS": "5",
    "CONNECTION_AGE_SECONDS": "5",
}


@dataclass(frozen=True)
class Hosted:
    """The cluster, with the hosts of its programs."""

    product: Cluster
    hosts: Namespaces

    @property
    def stack(self) -> Stack:
        return self.product.stack

    def cut(self, name: str) -> None:
        """Disconnect the host of a program, so that connections to it time out."""
        self.hosts.cut(name)

    def heal(self, name: str) -> None:
        """Reconnect the host of a program, and wait until the program receives calls."""
        self.hosts.heal(name)
        self.wait_until_serving(name)

    def replace(self, name: str) -> None:
        """Restart a program at another address, as a rollout does with a pod."""
        self.stack.stop(name)
        if not name.startswith("gateway"):
            self.hosts.move(name)
        self.stack.start(name)
        self.wait_until_serving(name)

    def wait_until_serving(self, name: str) -> None:
        """Wait until a program is ready and receives calls."""
        self.stack.wait_ready(name)
        self.stack.wait_routed(name)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    # With SORI_TEST_CLUSTER, a missing cluster is a failure and not a skipped test.
    if not ON_CLUSTER and (reason := reason_to_skip()):
        pytest.skip(reason)
    folder, hosts = tmp_path_factory.mktemp("cluster"), network().hosts()
    analysis_server = FakeAnalysisServer(
        free_ports(1)[0], folder / "journal", "accepts", hosts.outside
    )
    analysis_server.start()
    copy_database(folder / "stack")
    stack = Stack.on_free_ports(
        folder / "stack",
        {**ENVIRONMENT, "TARGET_SERVER_URL": analysis_server.url},
        without=("analyzer",),
        durable=True,
        replicas=2,
        analysis_workers=2,
        gateways=2,
        hosts=hosts,
    )
    try:
        with stack:
            yield Hosted(Cluster(stack, analysis_server), hosts)
    finally:
        analysis_server.kill()
