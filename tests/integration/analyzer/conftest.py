"""The reference analyzer as a process, with a fake file server and a fake webhook."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from tests.integration.analyzer.fake_peers import ORIGIN, PORT, FakePeers, QuietServer
from tests.integration.analyzer.server import Analyzer, analyzer_with


@pytest_asyncio.fixture(loop_scope="package")
async def fake_peers() -> AsyncIterator[FakePeers]:
    peers = FakePeers()
    app = Starlette(
        routes=[
            Route("/files/{name}", peers.file),
            Route("/webhook", peers.webhook, methods=["POST"]),
        ]
    )
    listener = socket.create_server(("127.0.0.1", PORT))
    peers.url = ORIGIN
    server = QuietServer(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))
    yield peers
    server.should_exit = True
    await serving


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def analyzer() -> AsyncIterator[Analyzer]:
    """An analyzer for all tests that leave its process as it was."""
    async with analyzer_with(backoff_seconds=0.05) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def own_analyzer() -> AsyncIterator[Analyzer]:
    """An analyzer that the test may stop or kill."""
    async with analyzer_with() as running:
        yield running
