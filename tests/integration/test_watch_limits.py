"""Watches above the limit of a client address or of a process are refused by the rpc."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import SecretStr

from services.analysis.notifications import JobNotifications
from services.analysis.progress import ProgressFeed
from services.analysis.report_parser import ReportParser
from services.analysis.servicer import AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import Deletions, JobStore
from services.analysis.webhook import WebhookSigner
from services.catalog.clients import AnalysisClient
from services.catalog.models import Actor
from services.catalog.servicer import CatalogServicer
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from services.runtime.watch_limit import WatchLimit
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.integration.analysis.jobs import opened

PER_CLIENT = 2
TOTAL = 3

Watch = Callable[[str], Any]
"""Starts a watch of a client address."""


@asynccontextmanager
async def serving(add: Callable[[grpc.aio.Server], None]) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def of_address(address: str) -> tuple[tuple[str, str], ...]:
    """The header in which the gateway states the address of the client."""
    return (("x-envoy-external-address", address),)


@pytest.fixture
async def watch_tokens(catalog: CatalogStore, database: Database) -> AsyncIterator[Watch]:
    await catalog.actors.create(Actor("a"))
    servicer = CatalogServicer(
        catalog,
        cast(ObjectStore, None),
        cast(AnalysisClient, None),
        ViewCounter(catalog.tokens, 60),
        TokenWatch(catalog.changes, database, 60),
        WatchLimit(per_client=PER_CLIENT, total=TOTAL),
    )

    def add(server: grpc.aio.Server) -> None:
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server)

    async with serving(add) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        request = catalog_pb2.WatchTokensRequest()
        yield lambda address: stub.WatchTokens(request, metadata=of_address(address))


@pytest.fixture
async def watch_analysis(database: Database) -> AsyncIterator[Watch]:
    settings = AnalysisSettings(
        webhook_signing_key=SecretStr("0123456789abcdef"),
        max_watches_per_client=PER_CLIENT,
        analysis_max_watches=TOTAL,
    )
    notifications = JobNotifications(database)
    store = JobStore(database, notifications.notify)
    feed = ProgressFeed(store, heartbeat_seconds=60)
    servicer = AnalysisServicer(
        settings,
        store,
        cast(Deletions, None),
        feed,
        cast(WebhookSigner, None),
        cast(ReportParser, None),
    )
    job_id = await opened(store)

    def add(server: grpc.aio.Server) -> None:
        analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(servicer, server)

    async with serving(add) as channel:
        stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
        request = analysis_pb2.WatchAnalysisRequest(job_id=str(job_id))
        yield lambda address: stub.WatchAnalysis(request, metadata=of_address(address))


@pytest.fixture(params=["watch_tokens", "watch_analysis"])
def watch(request: pytest.FixtureRequest) -> Watch:
    return cast(Watch, request.getfixturevalue(request.param))


async def assert_refused(call: Any, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status: Any = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == reason
    assert dict(caught.value.trailing_metadata() or ())["retry-after"] == "2"


async def test_one_client_address_cannot_take_all_watches(watch: Watch) -> None:
    async with AsyncExitStack() as watches:
        for _ in range(PER_CLIENT):
            await _opened(watch("192.0.2.1"), watches)
        await assert_refused(watch("192.0.2.1"), "TOO_MANY_WATCHES")
        await _opened(watch("192.0.2.2"), watches)


async def test_many_client_addresses_cannot_exceed_the_limit_of_the_process(watch: Watch) -> None:
    async with AsyncExitStack() as watches:
        for number in range(TOTAL):
            await _opened(watch(f"192.0.2.{number}"), watches)
        await assert_refused(watch("192.0.2.99"), "WATCHES_EXHAUSTED")


async def _opened(call: Any, watches: AsyncExitStack) -> None:
    """Wait for the first message of a watch, and cancel it when the stack closes."""
    watches.callback(call.cancel)
    await anext(aiter(call))
