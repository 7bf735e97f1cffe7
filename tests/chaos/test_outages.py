"""Parts that are away for long: the jobs wait, untouched, and go on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.chaos.world import World, eventually


@pytest.fixture
def takes_count(is_long: bool) -> int:
    return 100 if is_long else 20


@pytest.fixture
def s3_restarted(world: World) -> Iterator[None]:
    yield
    world.stack.start("s3")
    world.stack.wait_ready("s3")


@pytest.mark.timeout(300)
def test_no_job_burns_its_attempts_on_an_analysis_server_that_is_down(
    world: World, is_long: bool, takes_count: int
) -> None:
    world.double.kill()
    takes = world.upload_many(takes_count)
    time.sleep(60 if is_long else 5)
    jobs = world.jobs(takes).values()
    assert {row["state"] for row in jobs} == {"queued"}
    # One at most is being tried right now, by each of two workers.
    assert sum(row["tries"] for row in jobs) <= 2
    world.double.start()
    world.await_ends(takes)
    assert {row["state"] for row in world.jobs(takes).values()} == {"completed"}
    assert {world.double.dispatches(take.job_id) for take in takes} == {1}


@pytest.mark.timeout(300)
def test_a_job_cancelled_while_the_analysis_server_is_down_is_never_dispatched(
    world: World,
) -> None:
    world.double.kill()
    try:
        cancelled, other = world.upload_many(2)
        assert world.jobs([cancelled])[cancelled.job_id]["state"] == "queued"
        world.cancel(cancelled)
    finally:
        world.double.start()
    world.await_ends([other])
    assert world.jobs([cancelled])[cancelled.job_id]["state"] == "cancelled"
    assert world.double.dispatches(cancelled.job_id) == 0


@pytest.mark.timeout(300)
def test_jobs_outlast_an_s3_that_is_away_when_they_are_dispatched(
    world: World, is_long: bool, takes_count: int, s3_restarted: None
) -> None:
    world.double.kill()
    takes = world.upload_many(takes_count)
    world.stack.stop("s3")
    world.double.start()
    eventually(lambda: all(world.double.dispatches(take.job_id) for take in takes))
    time.sleep(20 if is_long else 2)
    world.stack.start("s3")
    world.await_ends(takes)
    results = world.results(takes)
    assert {take.job_id: take.sha256 for take in takes} == {
        job_id: result["sha256"] for job_id, result in results.items()
    }
