"""Clients of one service are kept apart, on real PostgreSQL, S3 and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import grpc
import pytest

from services.runtime.client_address import CLIENT_ADDRESS
from services.runtime.interceptors import CallInterceptor
from services.upload.tus_servicer import TusServicer
from sori.upload.v1 import tus_pb2 as pb
from sori.upload.v1 import tus_pb2_grpc
from tests.integration.upload.process import MIB, Backends, Process

pytestmark = pytest.mark.asyncio(loop_scope="package")

CLIENT, STRANGER = "192.0.2.1", "198.51.100.7"


class TusClient:
    """Calls the tus service as the gateway does for a client with this address."""

    def __init__(self, stub: tus_pb2_grpc.TusServiceAsyncStub) -> None:
        self._stub = stub

    async def create_partial(
        self, address: str, size: int = MIB, content: bytes = b"", **headers: str
    ) -> UUID:
        """Create a partial upload; returns its id."""
        metadata = {
            CLIENT_ADDRESS: address,
            "tus-resumable": "1.0.0",
            "upload-concat": "partial",
            "upload-length": str(size),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        request = pb.CreateTusUploadRequest()
        if content:
            request.content.content_type = "application/offset+octet-stream"
            request.content.data = content
        call = self._stub.CreateTusUpload(iter([request]), metadata=tuple(metadata.items()))
        await call
        location = dict(await call.initial_metadata())["location"]
        return UUID(str(location).rpartition("/")[2])


@asynccontextmanager
async def tus_client(process: Process) -> AsyncIterator[TusClient]:
    """The client of a tus service that runs on this process."""
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    tus_pb2_grpc.add_TusServiceServicer_to_server(TusServicer(process.uploads), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield TusClient(tus_pb2_grpc.TusServiceStub(channel))
    finally:
        await server.stop(None)


async def test_a_stranger_with_the_same_key_gets_an_upload_of_its_own(backends: Backends) -> None:
    async with tus_client(Process(backends)) as client:
        key = f"take-{uuid4().hex[:8]}"
        own = await client.create_partial(CLIENT, idempotency_key=key)
        assert await client.create_partial(CLIENT, idempotency_key=key) == own
        assert await client.create_partial(STRANGER, idempotency_key=key) != own


async def test_a_client_that_changed_its_network_repeats_its_request(backends: Backends) -> None:
    async with tus_client(Process(backends)) as client:
        key = str(uuid4())
        own = await client.create_partial(CLIENT, idempotency_key=key)
        assert await client.create_partial(STRANGER, idempotency_key=key) == own


async def test_the_id_of_an_upload_is_random(backends: Backends) -> None:
    async with tus_client(Process(backends)) as client:
        assert (await client.create_partial(CLIENT)).version == 4
