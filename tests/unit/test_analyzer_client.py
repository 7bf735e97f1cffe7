"""Requests to the analysis server carry the token of the settings."""

from __future__ import annotations

import httpx
import pytest

from services.analysis.analyzer_client import AnalyzerClient
from services.analysis.outcomes import Accepted
from services.analysis.report_parser import ReportParser

URL = "http://analyzer:8100/analyze-voice"


@pytest.mark.parametrize(("token", "expected"), [("secret", "Bearer secret"), ("", None)])
async def test_dispatches_and_status_requests_carry_the_token(
    token: str, expected: str | None
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(202, json={"status_url": "/analyze-voice/1"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AnalyzerClient(http, URL, ReportParser(1024), token)
        outcome = await client.dispatch("1", b"{}")
        assert outcome == Accepted(f"{URL}/1")
        await client.status(f"{URL}/1")
    assert [request.headers.get("Authorization") for request in requests] == [expected] * 2
