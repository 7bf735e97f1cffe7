"""A worker that was stopped for longer than its lease and goes on changes nothing."""

from __future__ import annotations

import pytest

from tests.chaos.world import Take, World, eventually

WORKERS = ("analysis-worker", "analysis-worker-2")


def worker_of(world: World, take: Take) -> str | None:
    """The program that works on a job."""
    (row,) = world.query("SELECT worker FROM analysis.jobs WHERE job_id = $1", take.job_id)
    pid = str(row["worker"]).rpartition(":")[2]
    return next((name for name in WORKERS if str(world.stack.pid(name)) == pid), None)


@pytest.mark.timeout(180)
def test_the_writes_of_a_worker_that_lost_its_lease_are_refused(world: World) -> None:
    world.double.behave("hangs")
    take = world.upload()
    eventually(lambda: worker_of(world, take) is not None)
    stopped = worker_of(world, take)
    assert stopped is not None
    world.stack.signal(stopped, "STOP")
    try:
        world.double.behave("answers")
        world.await_ends([take])
    finally:
        world.stack.signal(stopped, "CONT")
    eventually(lambda: refused(world, stopped, take))
    history = world.query(
        "SELECT number, outcome FROM analysis.attempts WHERE job_id = $1 ORDER BY number",
        take.job_id,
    )
    assert [tuple(row) for row in history] == [(1, "lost"), (2, "completed")]
    assert world.results([take])[take.job_id] == {"sha256": take.sha256}
    assert world.ends_of([take])[take.job_id] == [("queued", "completed")]


def refused(world: World, worker: str, take: Take) -> bool:
    """Whether the worker has noticed, in one way or the other."""
    return any(
        take.job_id in line and ('"held": false' in line or "lease lost" in line)
        for line in world.stack.logs(worker).splitlines()
    )
