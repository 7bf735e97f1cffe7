"""Clients of one service are kept apart, on real PostgreSQL, S3 and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from random import randrange
from typing import cast
from uuid import UUID, uuid4

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sqlalchemy import text

from services.runtime.callers import TRUSTED
from services.runtime.client_address import CLIENT_ADDRESS
from services.runtime.errors import DatabaseUnavailable
from services.runtime.interceptors import CallInterceptor
from services.upload.errors import DailyBytesExceeded, TooManyOpenUploads
from services.upload.models import Kind, Plan
from services.upload.state import State
from services.upload.tus_servicer import TusServicer
from sori.upload.v1 import tus_pb2 as pb
from sori.upload.v1 import tus_pb2_grpc
from tests.e2e.uploading import wav
from tests.integration.upload.process import (
    MIB,
    Backends,
    Process,
    random_content,
    stream,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")

CLIENT, STRANGER = "192.0.2.1", "198.51.100.7"


def new_address() -> str:
    """The address of a client that has sent nothing before."""
    return str(IPv4Address(randrange(2**24, 2**31)))


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
    tus_pb2_grpc.add_TusServiceServicer_to_server(
        TusServicer(process.uploads, guests=process.guest_lifetime), server
    )
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


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The status, the reason and the trailing metadata of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(cast(grpc.Call, caught.value))
    assert status is not None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    assert retry.retry_delay.seconds > 0
    trailers = {str(key): str(value) for key, value in caught.value.trailing_metadata() or ()}
    assert trailers["retry-after"] == str(retry.retry_delay.seconds)
    return caught.value.code(), info.reason, trailers


async def test_a_client_with_too_many_open_uploads_must_wait_and_others_need_not(
    backends: Backends,
) -> None:
    address, stranger = new_address(), new_address()
    process = Process(backends, open_uploads=2)
    async with tus_client(process) as client:
        first = await client.create_partial(address)
        await client.create_partial(address)
        code, reason, _ = await refusal(client.create_partial(address))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_UPLOADS")
        await client.create_partial(stranger)
        await process.uploads.cancel(first, TRUSTED)
        await client.create_partial(address)


async def test_open_uploads_count_at_every_replica(backends: Backends) -> None:
    address = new_address()
    async with tus_client(Process(backends, open_uploads=1)) as client:
        await client.create_partial(address)
    async with tus_client(Process(backends, open_uploads=1)) as client:
        _, reason, _ = await refusal(client.create_partial(address))
        assert reason == "TOO_MANY_OPEN_UPLOADS"


async def test_expired_uploads_are_not_open(backends: Backends) -> None:
    address = new_address()
    process = Process(backends, open_uploads=1)
    async with tus_client(process) as client:
        upload_id = await client.create_partial(address)
        await backends.execute(
            "UPDATE upload.uploads SET expire_time = now() WHERE upload_id = :upload_id",
            upload_id=upload_id,
        )
        await client.create_partial(address)


async def test_a_client_that_sent_its_bytes_of_the_day_must_wait_and_others_need_not(
    backends: Backends,
) -> None:
    address, stranger = new_address(), new_address()
    process = Process(backends, daily_bytes=MIB)
    async with tus_client(process) as client:
        await client.create_partial(address, MIB, bytes(MIB - 1))
        for replica in (process, Process(backends, daily_bytes=MIB)):
            await process.client_limits.save()
            with pytest.raises(DailyBytesExceeded):
                await replica.client_limits.admit(address, 2)
            await replica.client_limits.admit(address, 1)
        code, reason, _ = await refusal(client.create_partial(address, 2))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DAILY_BYTES_EXCEEDED")
        await client.create_partial(stranger, MIB, bytes(MIB))
        await backends.execute(
            "UPDATE upload.client_bytes SET day = day - 1 WHERE client = :client", client=address
        )
        await client.create_partial(address, MIB, bytes(MIB))


async def test_an_upload_stops_at_the_bytes_of_the_day_and_continues_the_next_day(
    backends: Backends,
) -> None:
    address = new_address()
    process = Process(backends, daily_bytes=2 * MIB)
    plan = Plan(Kind.PARTIAL, client=address, size=3 * MIB, ends_at_size=True)
    upload_id = (await process.create(plan)).upload.upload_id
    content = random_content(3 * MIB)
    with pytest.raises(DailyBytesExceeded):
        await process.uploads.write(upload_id, TRUSTED, 0, stream(content, finish=False))
    upload = await process.uploads.get(upload_id, TRUSTED)
    assert (upload.state, upload.committed_size) == (State.RECEIVING, 2 * MIB)
    tomorrow = Process(backends, daily_bytes=2 * MIB)
    rest = stream(content[2 * MIB :], finish=False)
    assert (
        await tomorrow.uploads.write(upload_id, TRUSTED, 2 * MIB, rest)
    ).state is State.COMPLETED


async def test_takes_count_at_every_replica_after_a_batch(backends: Backends) -> None:
    address, stranger = new_address(), new_address()
    take = wav(MIB // 2, seed=1)
    first, second = Process(backends, daily_bytes=MIB), Process(backends, daily_bytes=MIB)
    for _ in range(2):
        await first.upload_take(stream(take, finish=True), client=address)
    await first.client_limits.save()
    # The second replica learns the counts with the client's first take.
    with suppress(DailyBytesExceeded):
        await second.upload_take(stream(take, finish=True), client=address)
    await second.client_limits.save()
    for replica in (first, second):
        with pytest.raises(DailyBytesExceeded):
            await replica.upload_take(stream(take, finish=True), client=address)
        await replica.upload_take(stream(take, finish=True), client=stranger)


async def test_takes_are_refused_while_open_uploads_use_up_the_limit(backends: Backends) -> None:
    address, take = new_address(), wav(1000, seed=1)
    process = Process(backends, open_uploads=1)
    upload_id = (await process.uploads.create(Plan(Kind.PARTIAL, client=address))).upload_id
    replica = Process(backends, open_uploads=1)
    await replica.upload_take(stream(take, finish=True), client=address)
    await replica.client_limits.save()
    with pytest.raises(TooManyOpenUploads):
        await replica.upload_take(stream(take, finish=True), client=address)
    await process.uploads.cancel(upload_id, TRUSTED)
    await replica.client_limits.save()
    await replica.upload_take(stream(take, finish=True), client=address)


async def test_counts_of_bytes_survive_an_outage_of_the_database(backends: Backends) -> None:
    address = new_address()
    process = Process(backends, daily_bytes=MIB)
    process.client_limits.count(address, MIB)
    await backends.execute("ALTER TABLE upload.client_bytes RENAME TO missing")
    try:
        with pytest.raises(DatabaseUnavailable):
            await process.client_limits.save()
    finally:
        await backends.execute("ALTER TABLE upload.missing RENAME TO client_bytes")
    await process.client_limits.save()
    with pytest.raises(DailyBytesExceeded):
        await Process(backends, daily_bytes=MIB).client_limits.admit(address)


async def test_counts_of_earlier_days_are_deleted(backends: Backends) -> None:
    address = new_address()
    process = Process(backends, daily_bytes=MIB)
    process.client_limits.count(address, MIB)
    await process.client_limits.save()
    await backends.execute(
        "UPDATE upload.client_bytes SET day = day - 1 WHERE client = :client", client=address
    )
    process.client_limits.count(new_address(), 1)
    await process.client_limits.save()
    async with backends.database.transaction() as connection:
        days = await connection.execute(
            text("SELECT day FROM upload.client_bytes WHERE client = :client"), {"client": address}
        )
        assert days.all() == []
