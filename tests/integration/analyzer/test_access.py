"""The analyzer serves only its dispatcher and calls only S3 and the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from services.analyzer.settings import AnalyzerSettings
from tests.integration.analyzer.fake_peers import CLOSE, PORT, FakePeers
from tests.integration.analyzer.server import Analyzer, analyzer_with

pytestmark = pytest.mark.asyncio(loop_scope="package")

TOKEN = "a-shared-secret"


def set_field(job: dict[str, Any], path: str, url: str) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        job = job[parent]
    job[name] = url


@pytest.mark.parametrize("field", ["audio_url", "webhook_url", "token.reference_assets.voice.url"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:PORT",
        "http://[::ffff:127.0.0.1]:PORT",
        "http://2130706433:PORT",
        "http://127.0.0.1:1",
        "https://127.0.0.1:PORT",
        "http://127.0.0.1:PORT@127.0.0.2",
        "http://169.254.169.254",
    ],
)
async def test_urls_of_other_origins_are_refused(
    analyzer: Analyzer, fake_peers: FakePeers, field: str, origin: str
) -> None:
    job = fake_peers.job()
    origin = origin.replace("PORT", str(PORT))
    set_field(job, field, f"{origin}/files/{CLOSE}?signature=secret")
    answer = await analyzer.post(job)
    assert answer.status_code == 403
    assert field in answer.json()["error"]
    assert "secret" not in answer.text
    assert (await analyzer.status(job)).status_code == 404


async def test_redirects_are_not_followed(analyzer: Analyzer, fake_peers: FakePeers) -> None:
    job = fake_peers.job("redirect")
    await analyzer.post(job)
    assert (await fake_peers.report(job["job_id"]))["reason"] == "AUDIO_UNAVAILABLE"
    assert fake_peers.fetched[CLOSE] == 0


async def test_callers_without_the_token_are_refused(fake_peers: FakePeers) -> None:
    async with analyzer_with(token=TOKEN) as analyzer:
        job = fake_peers.job()
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = await analyzer.post(job, **headers)
            assert (answer.status_code, "ANALYZER_TOKEN" in answer.json()["error"]) == (403, True)
        assert (await analyzer.status(job)).status_code == 403
        assert (await analyzer.client.get("/healthz")).status_code == 200

        bearer = {"Authorization": f"Bearer {TOKEN}"}
        accepted = await analyzer.post(job, **bearer)
        assert accepted.status_code == 202
        assert "analysis_results" in await fake_peers.report(job["job_id"])
        status = await analyzer.client.get(accepted.json()["status_url"], headers=bearer)
        assert "analysis_results" in status.json()
        assert not any(TOKEN in line for line in analyzer.log)


@pytest.mark.parametrize(
    "origins", ["s3", "http://s3/path", "ftp://s3", "http://127.0.0.1, http://"]
)
async def test_a_list_with_something_other_than_origins_stops_the_start(origins: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        AnalyzerSettings(allowed_origins=origins)
