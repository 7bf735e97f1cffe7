"""Requests, analyses and final reports of the reference analyzer."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from services.analyzer.score import ANALYZER_VERSION
from tests.integration.analyzer.fake_peers import CLOSE, FakePeers
from tests.integration.analyzer.server import Analyzer, analyzer_with

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_take_is_accepted_before_it_is_analysed_and_then_reported(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    job = fake_peers.job()
    answer = await analyzer.post(job)
    assert answer.status_code == 202
    assert answer.json() == {
        "job_id": job["job_id"],
        "status": "accepted",
        "status_url": f"/analyze-voice/{job['job_id']}",
    }
    fake_peers.gates[CLOSE].set()

    results = (await fake_peers.report(job["job_id"]))["analysis_results"]
    assert 75 < results["overall_score"] < 98
    assert len(results["words"]) == 14
    assert (await analyzer.client.get("/healthz")).status_code == 200
    assert not any("secret" in line for line in analyzer.log)


@pytest.mark.parametrize(
    ("take", "reason"),
    [
        ("silence_2s.wav", "SILENT_AUDIO"),
        ("notaudio.wav", "UNDECODABLE_AUDIO"),
        ("truncated.m4a", "UNDECODABLE_AUDIO"),
        ("missing.wav", "AUDIO_UNAVAILABLE"),
    ],
)
async def test_a_failure_report_has_a_reason_and_a_message(
    analyzer: Analyzer, fake_peers: FakePeers, take: str, reason: str
) -> None:
    job = fake_peers.job(take)
    await analyzer.post(job)
    report = await fake_peers.report(job["job_id"])
    assert (report["status"], report["reason"]) == ("failed", reason)
    assert report["error"].endswith(".")


async def test_a_missing_reference_voice_is_reported(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    job = fake_peers.job()
    job["token"]["reference_assets"]["voice"]["url"] = f"{fake_peers.url}/files/none.wav"
    await analyzer.post(job)
    assert (await fake_peers.report(job["job_id"]))["reason"] == "REFERENCE_UNAVAILABLE"


@pytest.mark.parametrize("limit", [{"max_audio_bytes": 200_000}, {"max_audio_seconds": 6}])
async def test_a_recording_that_is_too_large_or_too_long_is_refused(
    fake_peers: FakePeers, limit: dict[str, int]
) -> None:
    async with analyzer_with(**limit) as analyzer:
        too_long = fake_peers.job("ref_0870.wav", line="0930")
        short = fake_peers.job("take_0890_wrongline.mp3", line="0930")
        for job in (too_long, short):
            await analyzer.post(job)
        assert (await fake_peers.report(too_long["job_id"]))["reason"] == "AUDIO_TOO_LONG"
        assert "analysis_results" in await fake_peers.report(short["job_id"])


async def test_a_report_is_retried_after_503_and_429(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.answers = [503, 429]
    job = fake_peers.job()
    await analyzer.post(job)
    assert "analysis_results" in await fake_peers.report(job["job_id"])
    assert fake_peers.calls[job["job_id"]] == 3


async def test_a_report_that_the_webhook_refuses_is_not_retried(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.answers = [403]
    refused, accepted = fake_peers.job(), fake_peers.job()
    await analyzer.post(refused)
    await fake_peers.called[refused["job_id"]].wait()
    await analyzer.post(accepted)
    await fake_peers.report(accepted["job_id"])
    assert fake_peers.calls[refused["job_id"]] == 1


async def test_a_repeated_request_starts_no_second_analysis(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    job = fake_peers.job()
    key = {"Idempotency-Key": job["job_id"]}
    while_running = [(await analyzer.post(job, **key)).status_code for _ in range(3)]
    fake_peers.gates[CLOSE].set()
    await fake_peers.report(job["job_id"])
    afterwards = await analyzer.post(job, **key)
    assert [*while_running, afterwards.status_code] == [202] * 4

    other = fake_peers.job()
    await analyzer.post(other)
    await fake_peers.report(other["job_id"])
    assert fake_peers.fetched[CLOSE] == 2
    assert fake_peers.calls[job["job_id"]] == 1


async def test_settings_cannot_change_the_reported_version(
    fake_peers: FakePeers,
) -> None:
    async with analyzer_with(version="from the settings") as analyzer:
        job = fake_peers.job()
        await analyzer.post(job)
        report = await fake_peers.report(job["job_id"])
    assert report["analyzer_version"] == ANALYZER_VERSION
    assert report["analysis_results"]["analyzer_version"] == ANALYZER_VERSION


async def test_invalid_requests_are_refused_with_an_error(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    not_json = await analyzer.client.post("/analyze-voice", content=b"{")
    assert (not_json.status_code, "JSON" in not_json.json()["error"]) == (400, True)

    job = fake_peers.job()
    mismatch = await analyzer.post(job, **{"Idempotency-Key": str(uuid.uuid4())})
    assert mismatch.status_code == 422

    job["token"]["scripts"][0]["words"][0]["start_time"] = -1
    job["audio_url"] = "ftp://secret"
    invalid = await analyzer.post(job)
    assert invalid.status_code == 422
    fields = [field["field"] for field in invalid.json()["fields"]]
    assert {"audio_url", "token.scripts.0.words.0.start_time"} <= set(fields)
    assert "secret" not in invalid.text

    large = await analyzer.client.post("/analyze-voice", content=b" " * 2_000_000)
    assert (large.status_code, list(large.json())) == (413, ["error"])
    assert (await analyzer.client.get("/analyze-voice")).status_code == 405


async def test_a_full_queue_refuses_jobs_with_retry_after(fake_peers: FakePeers) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    async with analyzer_with(max_queued=1) as analyzer:
        first, second = fake_peers.job(), fake_peers.job()
        assert (await analyzer.post(first)).status_code == 202
        refused = await analyzer.post(second)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        fake_peers.gates[CLOSE].set()
        await fake_peers.report(first["job_id"])
