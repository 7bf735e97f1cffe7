"""A server at its limit of calls refuses further ones, and still answers health checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from services.runtime.concurrency import ConcurrencyLimit
from services.runtime.interceptors import CallInterceptor, Context
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc

LIMIT = 2


class HeldCatalog(catalog_pb2_grpc.CatalogServiceServicer):
    """Holds calls for token 1 and streams until they are released or cancelled."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.running = asyncio.Semaphore(0)

    async def GetToken(self, request: pb.GetTokenRequest, context: Context) -> pb.Token:
        self.running.release()
        if request.id == 1:
            await self.released.wait()
        return pb.Token(id=request.id)

    async def WatchTokens(
        self, request: pb.WatchTokensRequest, context: Context
    ) -> AsyncIterator[pb.WatchTokensResponse]:
        self.running.release()
        yield pb.WatchTokensResponse(cursor="1")
        await self.released.wait()


@asynccontextmanager
async def limited_server(catalog: HeldCatalog) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(interceptors=[CallInterceptor(), ConcurrencyLimit(LIMIT)])
    catalog_pb2_grpc.add_CatalogServiceServicer_to_server(catalog, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def assert_refused(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status: Any = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "TOO_MANY_CALLS"
    trailers = dict(caught.value.trailing_metadata() or ())
    assert (trailers["retry-after"], trailers["x-http-code"]) == ("2", "503")


async def test_calls_above_the_limit_are_refused_until_others_end() -> None:
    catalog = HeldCatalog()  # type: ignore[abstract]
    async with limited_server(catalog) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        held: list[Any] = [stub.GetToken(pb.GetTokenRequest(id=1)) for _ in range(LIMIT)]
        for _ in held:
            await catalog.running.acquire()
        await assert_refused(stub.GetToken(pb.GetTokenRequest(id=2)))
        catalog.released.set()
        await asyncio.gather(*held)
        assert (await stub.GetToken(pb.GetTokenRequest(id=2))).id == 2


async def test_a_server_at_its_limit_answers_health_checks() -> None:
    catalog = HeldCatalog()  # type: ignore[abstract]
    async with limited_server(catalog) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        held = [stub.GetToken(pb.GetTokenRequest(id=1)) for _ in range(LIMIT)]
        for _ in held:
            await catalog.running.acquire()
        checks: Any = health_pb2_grpc.HealthStub(channel)
        answer = await checks.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        catalog.released.set()


async def test_a_cancelled_stream_makes_room_for_another_call() -> None:
    catalog = HeldCatalog()  # type: ignore[abstract]
    async with limited_server(catalog) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        watches: list[Any] = [stub.WatchTokens(pb.WatchTokensRequest()) for _ in range(LIMIT)]
        for watch in watches:
            await watch.read()
        await assert_refused(stub.GetToken(pb.GetTokenRequest(id=2)))
        watches[0].cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await stub.GetToken(pb.GetTokenRequest(id=2))).id == 2
                    return
                except grpc.aio.AioRpcError:
                    # The server receives the cancellation after the client has sent it.
                    await asyncio.sleep(0.01)
