"""A job that ends its worker fails alone, and workers end with the server."""

from __future__ import annotations

import asyncio
import signal

import psutil  # type: ignore[import-untyped]
import pytest

from tests.integration.analyzer.fake_peers import CLOSE, FakePeers, long_take
from tests.integration.analyzer.server import Analyzer, analyzer_with

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_job_survives_the_death_of_a_worker_that_has_not_begun_it(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    (worker,) = analyzer.workers()
    worker.suspend()
    job = fake_peers.job()
    await analyzer.post(job)
    await fake_peers.served["ref_0890.wav"].wait()
    worker.kill()
    assert "analysis_results" in await fake_peers.report(job["job_id"])
    assert analyzer.workers() != [worker]


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_job_that_ends_its_worker_fails_and_is_not_repeated(
    analyzer: Analyzer, fake_peers: FakePeers, death: signal.Signals
) -> None:
    fake_peers.files["long.wav"] = long_take()
    job, waiting = fake_peers.job("long.wav"), fake_peers.job()
    await analyzer.post(job)
    while (await fake_peers.progress_report(job["job_id"]))["stage"] != "ANALYSING":
        pass
    await analyzer.post(waiting)
    (worker,) = analyzer.workers()
    worker.send_signal(death)
    report = await fake_peers.report(job["job_id"])
    assert report["reason"] == "WORKER_DIED"
    assert fake_peers.fetched["long.wav"] == 1
    assert "analysis_results" in await fake_peers.report(waiting["job_id"])


async def test_a_job_that_exceeds_the_memory_of_its_worker_fails(fake_peers: FakePeers) -> None:
    async with analyzer_with() as analyzer:
        (worker,) = analyzer.workers()
        soft, _ = worker.rlimit(psutil.RLIMIT_AS)
        assert soft == 1024**3
        worker.rlimit(psutil.RLIMIT_AS, (64 * 1024**2, soft))
        job = fake_peers.job()
        await analyzer.post(job)
        assert (await fake_peers.report(job["job_id"]))["status"] == "failed"
        assert (await analyzer.client.get("/healthz")).status_code == 200


async def test_a_job_for_which_no_worker_can_start_is_reported_as_crashed(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    job = fake_peers.job()
    await analyzer.post(job)
    reporting = asyncio.create_task(fake_peers.report(job["job_id"]))
    while not reporting.done():
        for worker in analyzer.workers():
            worker.kill()
        await asyncio.wait([reporting], timeout=0.02)
    assert reporting.result()["reason"] == "ANALYSIS_CRASHED"

    next_job = fake_peers.job()
    await analyzer.post(next_job)
    assert "analysis_results" in await fake_peers.report(next_job["job_id"])


async def test_a_worker_that_hangs_is_replaced(fake_peers: FakePeers) -> None:
    # The time of the next job includes the start of a new worker.
    async with analyzer_with(analysis_timeout_seconds=25) as analyzer:
        analyzer.workers()[0].suspend()
        stuck, next_job = fake_peers.job(), fake_peers.job()
        await analyzer.post(stuck)
        assert (await fake_peers.report(stuck["job_id"]))["reason"] == "ANALYSIS_CRASHED"
        await analyzer.post(next_job)
        assert "analysis_results" in await fake_peers.report(next_job["job_id"])


async def test_a_worker_is_replaced_after_its_number_of_jobs(fake_peers: FakePeers) -> None:
    async with analyzer_with(jobs_per_worker=1) as analyzer:
        first = analyzer.workers()
        for _ in range(2):
            job = fake_peers.job()
            await analyzer.post(job)
            assert "analysis_results" in await fake_peers.report(job["job_id"])
        assert not psutil.wait_procs(first, timeout=5)[1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_job_finishes_before_the_server_exits(
    own_analyzer: Analyzer, fake_peers: FakePeers, stop: signal.Signals
) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    workers = own_analyzer.workers()
    job = fake_peers.job()
    await own_analyzer.post(job)
    await fake_peers.served[CLOSE].wait()
    own_analyzer.process.send_signal(stop)
    fake_peers.gates[CLOSE].set()
    assert "analysis_results" in await fake_peers.report(job["job_id"])
    assert await asyncio.wait_for(own_analyzer.process.wait(), 20) == 0
    assert not psutil.wait_procs(workers, timeout=5)[1]


async def test_a_job_that_exceeds_the_grace_period_is_abandoned(fake_peers: FakePeers) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    async with analyzer_with(shutdown_grace_seconds=0.2) as analyzer:
        await analyzer.post(fake_peers.job())
        await fake_peers.served[CLOSE].wait()
        analyzer.process.terminate()
        assert await asyncio.wait_for(analyzer.process.wait(), 20) == 0
    fake_peers.gates[CLOSE].set()


async def test_workers_end_with_a_killed_server(own_analyzer: Analyzer) -> None:
    workers = own_analyzer.workers()
    assert workers
    own_analyzer.process.kill()
    assert not psutil.wait_procs(workers, timeout=10)[1]
