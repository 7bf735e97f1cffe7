"""Kills of random programs: the job of every uploaded take ends once, with the right result."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from services.analysis.jobs import State
from tests.chaos.cluster_fixture import ANALYSIS_SERVER, Cluster, Take
from tests.chaos.conftest import MAX_ATTEMPTS, MakeCluster

VICTIMS = (
    "upload",
    "upload-2",
    "analysis",
    "analysis-2",
    "analysis-worker",
    "analysis-worker-2",
    ANALYSIS_SERVER,
)
PAUSE_SECONDS = 2.0


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    return make_cluster()


@pytest.mark.timeout(400)
def test_kills_lose_no_uploaded_take(
    cluster: Cluster, is_long: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    count, seconds = (200, 60.0) if is_long else (40, 10.0)
    killer = Killer(cluster, seconds)
    killer.start()
    takes = cluster.upload_many(count, seconds)
    killer.join()
    last_kill = time.time()
    cluster.wait_until_ended(takes, 120)
    jobs, results, ends = (
        cluster.jobs(takes),
        cluster.results(takes),
        cluster.final_transitions(takes),
    )
    lost = [take for take in takes if take.job_id not in jobs]
    wrong = [take for take in takes if is_wrong(take, results)]
    twice = [job_id for job_id, transitions in ends.items() if not ended_once(transitions)]
    journal = cluster.analysis_server.journal.read()
    dispatched = Counter(entry["job_id"] for entry in journal if entry["kind"] == "dispatch")
    callbacks = Counter(entry["effect"] for entry in journal if entry["kind"] == "callback")
    longest = max(row["end_time"].timestamp() - last_kill for row in jobs.values())
    table = {
        "jobs": len(takes),
        "kills": len(killer.victims),
        "completed": sum(row["state"] == State.COMPLETED for row in jobs.values()),
        "failed": dict(Counter(filter(None, (row["failure_reason"] for row in jobs.values())))),
        "lost": len(lost),
        "wrong": len(wrong),
        "ended twice": len(twice),
        "maximum dispatches of a job": max(dispatched.values()),
        "duplicate or late callbacks": sum(callbacks.values()) - callbacks["REPORT_EFFECT_APPLIED"],
        "from the last kill to the last end": f"{max(0.0, longest):.1f} s",
    }
    with capsys.disabled():
        print("\n" + "\n".join(f"  {name:<36}{value}" for name, value in table.items()))  # noqa: T201
    assert (lost, wrong, twice) == ([], [], [])
    assert max(dispatched.values()) <= MAX_ATTEMPTS + 1
    assert all(dispatched[job_id] <= row["dispatches"] for job_id, row in jobs.items())


def is_wrong(take: Take, results: dict[str, dict[str, str]]) -> bool:
    """Whether a job has the result of another recording."""
    return take.job_id in results and results[take.job_id]["sha256"] != take.sha256


def ended_once(transitions: list[tuple[str, str]]) -> bool:
    """Whether a job ended once; a late result may still complete a failed job."""
    return len(transitions) == 1 or transitions[1:] == [("failed", "completed")]


class Killer(threading.Thread):
    """Kills a random program every two seconds."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        super().__init__()
        self.victims: list[str] = []
        self._cluster = cluster
        self._end = time.monotonic() + seconds
        self._random = random.Random(0)

    def run(self) -> None:
        while time.monotonic() < self._end:
            victim = self._random.choice(VICTIMS)
            self._cluster.kill(victim)
            self.victims.append(victim)
            time.sleep(PAUSE_SECONDS)
