"""Requests to the analysis server, and how its answers are understood."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from services.analysis.analyzer_client import AnalyzerClient, open_http
from services.analysis.outcomes import Accepted, Fault, NoReport, PermanentFailure, TransientFailure
from services.analysis.report_parser import ReportParser

HOST = "127.0.0.1"
MAX_REPORT_BYTES = 4096

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Exchange:
    """An analysis server and a client of it."""

    url: str
    client: AnalyzerClient
    requests: list[web.Request] = field(default_factory=list)


async def accept(_: web.Request) -> web.StreamResponse:
    return web.json_response({"status_url": "/analyze-voice/1"}, status=202)


@asynccontextmanager
async def exchange(
    handler: Handler = accept, token: str = "", user: str = "", timeout_seconds: float = 30.0
) -> AsyncIterator[Exchange]:
    """A client and a server that answers with `handler`. user: "name:password@" in the URL."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        requests.append(request)
        return await handler(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    async with AsyncExitStack() as resources:
        await runner.setup()
        resources.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        port = runner.addresses[0][1]
        url = f"http://{user}{HOST}:{port}/analyze-voice"
        http = await resources.enter_async_context(
            open_http(
                url, timeout_seconds=timeout_seconds, connect_timeout_seconds=5, connections=2
            )
        )
        client = AnalyzerClient(http, url, ReportParser(MAX_REPORT_BYTES), token)
        yield Exchange(f"http://{HOST}:{port}/analyze-voice", client, requests)


@pytest.mark.parametrize(
    ("token", "user", "expected"),
    [
        ("secret", "", "Bearer secret"),
        ("secret", "name:password@", "Bearer secret"),
        ("", "name:password@", "Basic bmFtZTpwYXNzd29yZA=="),
        ("", "", None),
    ],
)
async def test_dispatches_and_status_requests_carry_the_credentials(
    token: str, user: str, expected: str | None
) -> None:
    async with exchange(token=token, user=user) as server:
        outcome = await server.client.dispatch("1", b"{}")
        assert isinstance(outcome, Accepted)
        assert outcome.status_url
        await server.client.status(outcome.status_url)
    assert [each.headers.get("Authorization") for each in server.requests] == [expected] * 2
    assert [each.path for each in server.requests] == ["/analyze-voice", "/analyze-voice/1"]


async def test_a_dispatch_is_json_with_the_job_as_idempotency_key() -> None:
    async with exchange() as server:
        await server.client.dispatch("1", b'{"a": 1}')
    (request,) = server.requests
    assert request.method == "POST"
    assert request.content_type == "application/json"
    assert request.headers["Idempotency-Key"] == "1"
    assert await request.json() == {"a": 1}


async def test_dispatches_share_a_connection() -> None:
    ports: set[int] = set()

    async def note_port(request: web.Request) -> web.StreamResponse:
        assert request.transport
        ports.add(request.transport.get_extra_info("peername")[1])
        return await accept(request)

    async with exchange(note_port) as server:
        for number in range(3):
            await server.client.dispatch(str(number), b"{}")
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ("/status/1", True),
        ("status/1?a=%2B+", True),
        ("http://other.example/status/1", False),
        ("//other.example/status/1", False),
        ("http://name@{own}/status/1", False),
        ("https://{own}/status/1", False),
        ("http://[broken", False),
        ("/" + "x" * 2000, False),
        (7, False),
        (None, False),
    ],
)
async def test_a_status_url_has_the_origin_of_the_analysis_server(
    offered: object, accepted: bool
) -> None:
    async def offer(request: web.Request) -> web.StreamResponse:
        own = request.host
        url = offered.replace("{own}", own) if isinstance(offered, str) else offered
        return web.json_response({"status_url": url}, status=202)

    async with exchange(offer) as server:
        outcome = await server.client.dispatch("1", b"{}")
        assert isinstance(outcome, Accepted)
        assert (outcome.status_url is not None) is accepted


async def test_a_redirect_is_a_refusal() -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with exchange(redirect) as server:
        outcome = await server.client.dispatch("1", b"{}")
        assert isinstance(outcome, PermanentFailure)
        assert await server.client.status(server.url) == NoReport()
    assert [each.path for each in server.requests] == ["/analyze-voice"] * 2


async def test_a_server_that_refuses_the_connection_has_not_seen_the_job() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        url = f"http://{HOST}:{unused.getsockname()[1]}/"
        async with open_http(
            url, timeout_seconds=5, connect_timeout_seconds=5, connections=1
        ) as http:
            client = AnalyzerClient(http, url, ReportParser(MAX_REPORT_BYTES))
            outcome = await client.dispatch("1", b"{}")
    assert isinstance(outcome, TransientFailure)
    assert outcome.fault is Fault.UNREACHED


async def test_a_broken_connection_may_follow_work_of_the_server() -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with exchange(break_off) as server:
        outcome = await server.client.dispatch("1", b"{}")
    assert isinstance(outcome, TransientFailure)
    assert outcome.fault is Fault.SERVERS


async def test_an_answer_that_stops_is_a_failure_of_the_server() -> None:
    async def stop(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport
        request.transport.close()
        return response

    async with exchange(stop) as server:
        outcome = await server.client.dispatch("1", b"{}")
    assert isinstance(outcome, TransientFailure)
    assert outcome.fault is Fault.SERVERS


async def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exchange() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        url = "http://analyzer.invalid/analyze-voice"
        async with open_http(
            url, timeout_seconds=5, connect_timeout_seconds=5, connections=1
        ) as http:
            client = AnalyzerClient(http, url, ReportParser(MAX_REPORT_BYTES))
            assert isinstance(await client.dispatch("1", b"{}"), Accepted)
    (request,) = proxy.requests
    assert request.host == "analyzer.invalid"
