"""Dispatches contain the newest content of a token, which the worker caches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr

from services.analysis.dispatch_request import DispatchRequest, DispatchRequestBuilder
from services.analysis.dispatched_tokens import DispatchedTokens
from services.analysis.jobs import TOKEN_NOT_FOUND, Claim, State
from services.analysis.outcomes import PermanentFailure
from services.analysis.webhook import WebhookSigner
from services.catalog.clients import AnalysisClient
from services.catalog.models import Actor, ReferenceAssets, Script, Token
from services.catalog.servicer import CatalogServicer
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from services.runtime.settings import ObjectStoreSettings
from services.runtime.watch_limit import WatchLimit
from sori.catalog.v1 import catalog_pb2_grpc

ASSETS = ReferenceAssets("references/1/voice.wav", "references/1/pitch.json")
TOKEN = Token("clip", (1,), "", "", 0, 10, ASSETS)
PATIENCE_SECONDS = 20.0
HEARTBEAT_SECONDS = 3600.0
"""No test waits for a heartbeat."""


class Catalog:
    """The catalog service on a port of its own, which counts the calls of GetToken."""

    def __init__(
        self, database: Database, objects: ObjectStore, analysis: grpc.aio.Channel
    ) -> None:
        store = CatalogStore(database)
        self.port = 0
        self.reads = 0
        self.watch = TokenWatch(store.changes, database, HEARTBEAT_SECONDS)
        self._servicer = CatalogServicer(
            store,
            objects,
            AnalysisClient(analysis),
            ViewCounter(store.tokens, 3600),
            self.watch,
            WatchLimit(per_client=0, total=0),
        )
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen on the same port every time."""
        self._server = grpc.aio.server(interceptors=[CallInterceptor(), _Counter(self)])
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(self._servicer, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Interrupt all calls."""
        if self._server:
            await self._server.stop(None)


class _Counter(grpc.aio.ServerInterceptor):
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        self._catalog.reads += details.method.endswith("/GetToken")
        return await continuation(details)


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def objects() -> AsyncIterator[ObjectStore]:
    settings = ObjectStoreSettings(
        aws_access_key_id="none", aws_secret_access_key=SecretStr("none")
    )
    async with ObjectStore.connect(settings) as objects:
        yield objects


@pytest.fixture
async def service(
    catalog: CatalogStore, database: Database, objects: ObjectStore
) -> AsyncIterator[Catalog]:
    await catalog.actors.create(Actor("a"))
    async with open_channel("127.0.0.1:9") as analysis:
        service = Catalog(database, objects, analysis)
        listening = asyncio.create_task(service.watch.run())
        await service.start()
        yield service
        await service.stop()
        listening.cancel()
        await asyncio.wait([listening])


@pytest.fixture
async def builder(
    service: Catalog, objects: ObjectStore, clock: Clock
) -> AsyncIterator[DispatchRequestBuilder]:
    async with AsyncExitStack() as resources:
        channel = await resources.enter_async_context(open_channel(f"127.0.0.1:{service.port}"))
        tokens = DispatchedTokens(catalog_pb2_grpc.CatalogServiceStub(channel), clock)
        watching = asyncio.create_task(tokens.run())
        webhook = WebhookSigner("http://localhost", "a key of some length", signature_required=True)
        yield DispatchRequestBuilder(tokens, objects, webhook, 3600)
        watching.cancel()
        await asyncio.wait([watching])


def claim_of(token: Token, revision: int = 1) -> Claim:
    job_id = uuid4()
    return Claim(
        job_id, token.id or 0, State.QUEUED, "a/b", uuid4(), 1, 1, 0, False, None, revision
    )


async def request_of(builder: DispatchRequestBuilder, claim: Claim) -> dict[str, Any]:
    """The body of the request that dispatches a claimed job."""
    request = await builder.build(claim)
    assert isinstance(request, DispatchRequest)
    body: dict[str, Any] = json.loads(request.body)
    return body


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def cached(builder: DispatchRequestBuilder, service: Catalog, token: Token) -> None:
    """Dispatch a token until the cache holds it."""

    async def is_cached() -> bool:
        before = service.reads
        await builder.build(claim_of(token))
        return service.reads == before

    await until(is_cached)


async def test_a_dispatch_contains_the_job_and_the_token(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder
) -> None:
    token = await catalog.tokens.create(replace(TOKEN, name='소리 "1"'))
    await catalog.scripts.create(Script(token.id or 0, "말", "", "ko", 0, 1))
    await cached(builder, service, token)
    for claim in (claim_of(token), claim_of(token)):
        body = await request_of(builder, claim)
        assert set(body) == {"job_id", "audio_url", "token", "webhook_url"}
        assert body["job_id"] == str(claim.job_id)
        assert str(claim.job_id) in body["webhook_url"]
        assert "/a/b?" in body["audio_url"]
        assert body["token"]["name"] == '소리 "1"'
        assert body["token"]["view_count"] == 0
        assert [script["text"] for script in body["token"]["scripts"]] == ["말"]
        assert "Signature" in body["token"]["reference_assets"]["voice"]["url"]


async def test_a_changed_token_is_dispatched_with_its_new_content(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder
) -> None:
    token = await catalog.tokens.create(TOKEN)
    await cached(builder, service, token)
    await catalog.scripts.create(Script(token.id or 0, "new", "", "", 0, 1))
    await catalog.tokens.update(token.id or 0, "", lambda before: replace(before, name="renamed"))

    async def is_new() -> bool:
        sent = (await request_of(builder, claim_of(token)))["token"]
        return sent["name"] == "renamed" and len(sent["scripts"]) == 1

    await until(is_new)


async def test_a_token_is_not_older_than_the_recording(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder
) -> None:
    token = await catalog.tokens.create(TOKEN)
    await cached(builder, service, token)
    await catalog.scripts.create(Script(token.id or 0, "new", "", "", 0, 1))
    # The upload service saw the change, whether or not this process has.
    body = await request_of(builder, claim_of(token, revision=2))
    assert body["token"]["revision"] == 2


async def test_a_job_of_a_deleted_token_fails(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder
) -> None:
    token = await catalog.tokens.create(TOKEN)
    await cached(builder, service, token)
    await catalog.tokens.delete(token.id or 0, "", force=True)

    async def fails() -> bool:
        outcome = await builder.build(claim_of(token))
        return isinstance(outcome, PermanentFailure) and outcome.reason == TOKEN_NOT_FOUND

    await until(fails)


async def test_tokens_are_read_from_the_catalog_while_the_watch_is_interrupted(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder
) -> None:
    token = await catalog.tokens.create(TOKEN)
    await cached(builder, service, token)
    await service.stop()
    # Nobody sends this change: the watch is closed.
    await catalog.tokens.update(token.id or 0, "", lambda before: replace(before, name="renamed"))
    await service.start()
    assert (await request_of(builder, claim_of(token)))["token"]["name"] == "renamed"


async def test_a_token_is_read_again_when_half_the_validity_of_its_urls_is_over(
    catalog: CatalogStore, service: Catalog, builder: DispatchRequestBuilder, clock: Clock
) -> None:
    token = await catalog.tokens.create(TOKEN)
    await cached(builder, service, token)
    reads = service.reads
    clock.seconds += 1700
    await builder.build(claim_of(token))
    assert service.reads == reads
    clock.seconds += 200
    await builder.build(claim_of(token))
    assert service.reads == reads + 1
