"""Long outages of the analysis server and S3: jobs wait, use up no attempts, and complete."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.chaos.cluster_fixture import Cluster, eventually


@pytest.fixture
def takes_count(is_long: bool) -> int:
    return 100 if is_long else 20


@pytest.fixture
def restart_s3(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.stack.start("s3")
    cluster.stack.wait_ready("s3")


@pytest.mark.timeout(300)
def test_an_outage_of_the_analysis_server_uses_up_no_attempts(
    cluster: Cluster, is_long: bool, takes_count: int
) -> None:
    cluster.analysis_server.kill()
    takes = cluster.upload_many(takes_count)
    time.sleep(60 if is_long else 5)
    jobs = cluster.jobs(takes).values()
    assert {row["state"] for row in jobs} == {"queued"}
    # Each of the two workers may be sending a probe now.
    assert sum(row["counted_attempts"] for row in jobs) <= 2
    cluster.analysis_server.start()
    cluster.wait_until_ended(takes)
    assert {row["state"] for row in cluster.jobs(takes).values()} == {"completed"}
    assert {cluster.analysis_server.dispatches(take.job_id) for take in takes} == {1}


@pytest.mark.timeout(300)
def test_a_job_cancelled_while_the_analysis_server_is_down_is_never_dispatched(
    cluster: Cluster,
) -> None:
    cluster.analysis_server.kill()
    try:
        cancelled, other = cluster.upload_many(2)
        assert cluster.jobs([cancelled])[cancelled.job_id]["state"] == "queued"
        cluster.cancel(cancelled)
    finally:
        cluster.analysis_server.start()
    cluster.wait_until_ended([other])
    assert cluster.jobs([cancelled])[cancelled.job_id]["state"] == "cancelled"
    assert cluster.analysis_server.dispatches(cancelled.job_id) == 0


@pytest.mark.timeout(300)
def test_jobs_complete_after_an_outage_of_s3_during_their_dispatch(
    cluster: Cluster, is_long: bool, takes_count: int, restart_s3: None
) -> None:
    cluster.analysis_server.kill()
    takes = cluster.upload_many(takes_count)
    cluster.stack.stop("s3")
    cluster.analysis_server.start()
    eventually(lambda: all(cluster.analysis_server.dispatches(take.job_id) for take in takes))
    time.sleep(20 if is_long else 2)
    cluster.stack.start("s3")
    cluster.wait_until_ended(takes)
    results = cluster.results(takes)
    assert {take.job_id: take.sha256 for take in takes} == {
        job_id: result["sha256"] for job_id, result in results.items()
    }
