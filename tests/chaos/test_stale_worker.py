"""Fencing: a worker that was paused for longer than its lease changes nothing."""

from __future__ import annotations

import pytest

from tests.chaos.cluster_fixture import Cluster, Take, eventually

WORKERS = ("analysis-worker", "analysis-worker-2")


def worker_of(cluster: Cluster, take: Take) -> str | None:
    """The worker that last claimed the job; None unless it is one of WORKERS."""
    (row,) = cluster.query("SELECT worker FROM analysis.jobs WHERE job_id = $1", take.job_id)
    pid = str(row["worker"]).rpartition(":")[2]
    return next((name for name in WORKERS if str(cluster.stack.pid(name)) == pid), None)


@pytest.mark.timeout(180)
def test_a_worker_that_lost_its_lease_changes_nothing(cluster: Cluster) -> None:
    cluster.analysis_server.behave("hangs")
    take = cluster.upload()
    eventually(lambda: worker_of(cluster, take) is not None)
    paused = worker_of(cluster, take)
    assert paused is not None
    cluster.stack.signal(paused, "STOP")
    try:
        cluster.analysis_server.behave("answers")
        cluster.wait_until_ended([take])
    finally:
        cluster.stack.signal(paused, "CONT")
    eventually(lambda: has_logged_the_loss(cluster, paused, take))
    history = cluster.query(
        "SELECT number, outcome FROM analysis.attempts WHERE job_id = $1 ORDER BY number",
        take.job_id,
    )
    assert [tuple(row) for row in history] == [(1, "lost"), (2, "completed")]
    assert cluster.results([take])[take.job_id] == {"sha256": take.sha256}
    assert cluster.final_transitions([take])[take.job_id] == [("queued", "completed")]


def has_logged_the_loss(cluster: Cluster, worker: str, take: Take) -> bool:
    """Whether the worker has logged that it lost the lease, or that its write was refused."""
    return any(
        take.job_id in line and ('"held": false' in line or "lease lost" in line)
        for line in cluster.stack.logs(worker).splitlines()
    )
