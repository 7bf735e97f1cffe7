"""The status and the progress reports of running and ended jobs."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from services.version import product_version
from tests.integration.analyzer.fake_peers import CLOSE, FakePeers, long_take
from tests.integration.analyzer.ports import free_port
from tests.integration.analyzer.server import Analyzer, analyzer_with

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_the_status_equals_the_report(fake_peers: FakePeers) -> None:
    fake_peers.gates = {CLOSE: asyncio.Event(), "final": asyncio.Event()}
    async with analyzer_with(progress_reports=False) as analyzer:
        job = fake_peers.job()
        status_url = (await analyzer.post(job)).json()["status_url"]
        waiting = (await analyzer.client.get(status_url)).json()
        assert waiting == {
            "status": "processing",
            "progress": 0,
            "stage": "WAITING",
            "message": "Waiting for the analysis.",
        }
        fake_peers.gates[CLOSE].set()
        await fake_peers.called[job["job_id"]].wait()
        undelivered = (await analyzer.client.get(status_url)).json()
        fake_peers.gates["final"].set()
        report = await fake_peers.report(job["job_id"])
        delivered = (await analyzer.client.get(status_url)).json()
        assert [undelivered, delivered] == [report, report]
        assert fake_peers.webhook_bodies[job["job_id"]] == [report]


async def test_the_status_of_a_failed_job_has_a_reason_and_a_message(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    job = fake_peers.job("silence_2s.wav")
    await analyzer.post(job)
    report = await fake_peers.report(job["job_id"])
    assert (await analyzer.status(job)).json() == report
    assert set(report) == {"status", "reason", "error"}


async def test_the_status_of_an_unknown_job_is_404(analyzer: Analyzer) -> None:
    unknown = await analyzer.status({"job_id": uuid.uuid4()})
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
    assert (await analyzer.status({"job_id": "not-a-uuid"})).status_code == 404


async def test_the_status_url_does_not_use_the_host_header(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    job = fake_peers.job()
    answer = await analyzer.post(job, Host="attacker.example:81")
    assert answer.json()["status_url"] == f"/analyze-voice/{job['job_id']}"


async def test_the_status_url_uses_the_public_url(fake_peers: FakePeers) -> None:
    async with analyzer_with(public_url="https://analyzer.example/one/") as analyzer:
        job = fake_peers.job()
        answer = await analyzer.post(job)
        expected = f"https://analyzer.example/one/analyze-voice/{job['job_id']}"
        assert answer.json()["status_url"] == expected


async def test_an_undelivered_report_is_delivered_when_the_request_is_repeated(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.answers = [403]
    job, other = fake_peers.job(), fake_peers.job()
    await analyzer.post(job)
    await fake_peers.called[job["job_id"]].wait()
    await analyzer.post(other)
    await fake_peers.report(other["job_id"])
    undelivered = (await analyzer.status(job)).json()
    assert "analysis_results" in undelivered

    assert (await analyzer.post(job)).status_code == 202
    assert await fake_peers.report(job["job_id"]) == undelivered
    assert (await analyzer.status(job)).json() == undelivered
    assert fake_peers.fetched[CLOSE] == 2


async def test_a_job_whose_report_was_evicted_is_computed_again(
    fake_peers: FakePeers,
) -> None:
    async with analyzer_with(remembered_reports=1) as analyzer:
        jobs = [fake_peers.job() for _ in range(3)]
        for job in jobs:
            await analyzer.post(job)
            await fake_peers.report(job["job_id"])
        assert (await analyzer.status(jobs[0])).status_code == 404
        assert (await analyzer.status(jobs[2])).status_code == 200
        await analyzer.post(jobs[0])
        assert "analysis_results" in await fake_peers.report(jobs[0]["job_id"])


@pytest.mark.parametrize("setting", ["remembered_bytes", "remembered_seconds"])
async def test_a_report_cache_of_size_or_duration_0_is_empty(
    fake_peers: FakePeers, setting: str
) -> None:
    async with analyzer_with(**{setting: 0}) as analyzer:
        first, second = fake_peers.job(), fake_peers.job()
        for job in (first, second):
            await analyzer.post(job)
            await fake_peers.report(job["job_id"])
        assert (await analyzer.status(first)).status_code == 404


async def test_progress_is_reported_before_the_results(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.files["long.wav"] = long_take()
    job = fake_peers.job("long.wav")
    await analyzer.post(job)
    fetched = await fake_peers.progress_report(job["job_id"])
    analysing = await fake_peers.progress_report(job["job_id"])
    (worker,) = analyzer.workers()
    worker.suspend()
    assert [(report["progress"], report["stage"]) for report in (fetched, analysing)] == [
        (20, "RECORDING_FETCHED"),
        (40, "ANALYSING"),
    ]
    assert all(report["message"].isascii() for report in (fetched, analysing))
    assert (await analyzer.status(job)).json() == analysing
    worker.resume()
    report = await fake_peers.report(job["job_id"])
    assert fake_peers.webhook_bodies[job["job_id"]] == [fetched, analysing, report]


async def test_a_job_that_waits_for_a_worker_is_not_reported_as_analysing(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.files["long.wav"] = long_take()
    first, second = fake_peers.job("long.wav"), fake_peers.job()
    await analyzer.post(first)
    for _ in range(2):
        await fake_peers.progress_report(first["job_id"])
    (worker,) = analyzer.workers()
    worker.suspend()
    await analyzer.post(second)
    assert (await fake_peers.progress_report(second["job_id"]))["progress"] == 20
    assert (await analyzer.status(second)).json()["progress"] == 20
    worker.resume()
    assert (await fake_peers.progress_report(second["job_id"]))["progress"] == 40
    await fake_peers.report(second["job_id"])


async def test_a_slow_progress_report_delays_no_job_and_none_follows_the_results(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.gates["progress"] = asyncio.Event()
    job, next_job = fake_peers.job(), fake_peers.job()
    await analyzer.post(job)
    assert "analysis_results" in await fake_peers.report(job["job_id"])
    fake_peers.gates["progress"].set()
    await analyzer.post(next_job)
    await fake_peers.report(next_job["job_id"])
    first, last = fake_peers.webhook_bodies[job["job_id"]]
    assert (first["progress"], "analysis_results" in last) == (20, True)


async def test_a_refused_progress_report_is_not_repeated(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.progress_answer = 503
    fake_peers.files["long.wav"] = long_take()
    job = fake_peers.job("long.wav")
    await analyzer.post(job)
    for _ in range(2):
        await fake_peers.progress_report(job["job_id"])
    report = await fake_peers.report(job["job_id"])
    bodies = fake_peers.webhook_bodies[job["job_id"]]
    assert [body.get("progress") for body in bodies] == [20, 40, None]
    assert "analysis_results" in report


async def test_metrics_name_the_version() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with analyzer_with(metrics_listen=address) as analyzer:
        metrics = (await analyzer.client.get(f"http://{address}/metrics")).text
        assert f'sori_build_info{{service="analyzer",version="{product_version()}"}}' in metrics
