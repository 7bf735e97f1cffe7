"""Takes are accepted at once, analysed and reported; what cannot be is refused with a reason."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from services.analyzer.score import ANALYZER_VERSION
from tests.integration.analyzer.fake_peers import CLOSE, FakePeers
from tests.integration.analyzer.server import Analyzer, analyzer_with


async def test_a_take_is_accepted_at_once_and_reported(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    job = fake_peers.job()
    answer = await analyzer.post(job)
    assert answer.status_code == 202
    assert answer.json() == {
        "job_id": job["job_id"],
        "status": "accepted",
        "status_url": f"{analyzer.client.base_url}/analyze-voice/{job['job_id']}",
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
async def test_failures_are_reported_with_reason_and_sentence(
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


async def test_too_large_or_too_long_a_recording_is_reported(fake_peers: FakePeers) -> None:
    async with analyzer_with(max_audio_bytes=200_000, max_audio_seconds=6) as analyzer:
        for take in ("ref_0870.wav", "take_0890_wrongline.mp3"):
            job = fake_peers.job(take, line="0930")
            await analyzer.post(job)
            report = await fake_peers.report(job["job_id"])
            assert (report.get("reason") == "AUDIO_TOO_LONG") is (take == "ref_0870.wav")


async def test_the_webhook_is_tried_again_after_503_and_429(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.answers = [503, 429]
    job = fake_peers.job()
    await analyzer.post(job)
    assert "analysis_results" in await fake_peers.report(job["job_id"])
    assert fake_peers.calls[job["job_id"]] == 3


async def test_a_webhook_that_refuses_is_left_alone(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    fake_peers.answers = [403]
    refused, taken = fake_peers.job(), fake_peers.job()
    await analyzer.post(refused)
    await fake_peers.called[refused["job_id"]].wait()
    await analyzer.post(taken)
    await fake_peers.report(taken["job_id"])
    assert fake_peers.calls[refused["job_id"]] == 1


async def test_a_repeat_runs_no_second_analysis(analyzer: Analyzer, fake_peers: FakePeers) -> None:
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


async def test_results_carry_the_version_of_the_code_whatever_is_set(
    fake_peers: FakePeers,
) -> None:
    async with analyzer_with(version="of the settings") as analyzer:
        job = fake_peers.job()
        await analyzer.post(job)
        report = await fake_peers.report(job["job_id"])
    assert report["analyzer_version"] == ANALYZER_VERSION
    assert report["analysis_results"]["analyzer_version"] == ANALYZER_VERSION


async def test_bad_bodies_are_refused_with_a_reason(
    analyzer: Analyzer, fake_peers: FakePeers
) -> None:
    no_json = await analyzer.client.post("/analyze-voice", content=b"{")
    assert (no_json.status_code, "JSON" in no_json.json()["error"]) == (400, True)

    job = fake_peers.job()
    mismatch = await analyzer.post(job, **{"Idempotency-Key": str(uuid.uuid4())})
    assert mismatch.status_code == 422

    job["token"]["scripts"][0]["words"][0]["start_time"] = -1
    job["audio_url"] = "ftp://secret"
    bad = await analyzer.post(job)
    assert bad.status_code == 422
    fields = [field["field"] for field in bad.json()["fields"]]
    assert {"audio_url", "token.scripts.0.words.0.start_time"} <= set(fields)
    assert "secret" not in bad.text

    large = await analyzer.client.post("/analyze-voice", content=b" " * 2_000_000)
    assert (large.status_code, list(large.json())) == (413, ["error"])
    assert (await analyzer.client.get("/analyze-voice")).status_code == 405


async def test_a_full_queue_says_when_to_come_again(fake_peers: FakePeers) -> None:
    fake_peers.gates[CLOSE] = asyncio.Event()
    async with analyzer_with(max_queued=1) as analyzer:
        first, second = fake_peers.job(), fake_peers.job()
        assert (await analyzer.post(first)).status_code == 202
        refused = await analyzer.post(second)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        fake_peers.gates[CLOSE].set()
        await fake_peers.report(first["job_id"])
