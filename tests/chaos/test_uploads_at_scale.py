"""Large, many and slow uploads stay within the memory budget and do not block others."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import grpc
import httpx
import pytest

from services.upload.models import recording_key
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.stack import Stack
from tests.chaos.cluster_fixture import client_channel
from tests.databases import copy_database
from tests.e2e.product import AUDIO, SESSION, Product, plain_http
from tests.e2e.uploading import MIB, Uploader, wav
from tests.e2e.waiting import eventually

GIB = 1024 * MIB
TAKE = (AUDIO / "ref_0890.wav").read_bytes()
BUDGET = 32 * MIB
ENVIRONMENT = {
    "TARGET_SERVER_URL": "http://127.0.0.1:9/analyze-voice",
    "MAX_RECORDING_BYTES": str(6 * GIB),
    "MAX_RECORDING_SECONDS": "1000000",
    "UPLOAD_MEMORY_BYTES": str(BUDGET),
    # All uploads come from one address, and up to 1,000 of them are under way.
    "CLIENT_MAX_OPEN_UPLOADS": "0",
    "UPLOAD_MAX_CALLS": "2000",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("scale")
    copy_database(folder)
    with Stack.on_free_ports(folder, ENVIRONMENT, without=("analyzer", "accounts")) as stack:
        yield stack


@pytest.fixture
def product(stack: Stack) -> Iterator[Product]:
    with plain_http(stack.gateway_url, 600) as gateway:
        yield Product(stack, gateway)


@pytest.fixture
def uploader(stack: Stack) -> Iterator[Uploader]:
    with client_channel(stack.gateway_address) as channel:
        yield Uploader(channel)


class Large:
    """A recording too large for memory: each MiB has its number and the same noise."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._noise = Random(3).randbytes(MIB)

    def __iter__(self) -> Iterator[bytes]:
        yield wav(MIB)
        for number in range(1, self.size // MIB):
            yield struct.pack("<I", number) + self._noise[4:]

    def sha256(self) -> bytes:
        digest = hashlib.sha256()
        for piece in self:
            digest.update(piece)
        return digest.digest()


class Memory:
    """Measures how much the memory of the upload service grows."""

    def __init__(self, stack: Stack) -> None:
        pid = stack.pid("upload")
        assert pid is not None
        self._process = Path(f"/proc/{pid}")
        self._before = self._kilobytes("VmRSS")
        # Resets the peak, VmHWM.
        (self._process / "clear_refs").write_text("5")

    def growth(self) -> int:
        """The difference between the peak and the memory before, in bytes."""
        return (self._kilobytes("VmHWM") - self._before) * 1024

    def peak(self) -> int:
        """The most memory since the start of the measurement, in bytes."""
        return self._kilobytes("VmHWM") * 1024

    def now(self) -> int:
        """The memory in use, in bytes."""
        return self._kilobytes("VmRSS") * 1024

    def _kilobytes(self, name: str) -> int:
        status = (self._process / "status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0])


def warm_up(product: Product) -> None:
    """Upload a few takes, so that the service has allocated all that it keeps."""
    for _ in range(8):
        assert product.upload(1, "ref_0890.wav").status_code == 200


def digest_and_delete(product: Product, key: str) -> bytes:
    """Stream an object to compute its SHA-256, then delete it."""

    async def read() -> bytes:
        s3, digest = product.stack.s3, hashlib.sha256()
        async with SESSION.create_client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name=s3.region,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
        ) as client:
            answer = await client.get_object(Bucket=s3.bucket, Key=key)
            async for piece in answer["Body"].iter_chunks(MIB):
                digest.update(piece)
            await client.delete_object(Bucket=s3.bucket, Key=key)
        return digest.digest()

    return asyncio.run(read())


def key_of(upload: pb.Upload) -> str:
    return recording_key(upload.token_id, UUID(upload.job_id))


@pytest.fixture(scope="module")
def large(is_long: bool) -> Large:
    return Large(5 * GIB if is_long else 192 * MIB)


@pytest.mark.timeout(1200)
def test_a_large_upload_by_grpc_uses_little_memory(
    product: Product, uploader: Uploader, large: Large
) -> None:
    warm_up(product)
    upload_id = uploader.create(1, size=large.size).upload_id
    memory = Memory(product.stack)

    def messages() -> Iterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(upload_id=upload_id)
        for piece in large:
            yield pb.WriteUploadRequest(chunk=piece)
        yield pb.WriteUploadRequest(finish_write=True)

    upload = uploader.stub.WriteUpload(messages(), timeout=900)
    assert memory.growth() < 64 * MIB
    assert upload.state == pb.UPLOAD_STATE_COMPLETED
    assert digest_and_delete(product, key_of(upload)) == large.sha256()


@pytest.mark.timeout(1200)
def test_a_large_upload_by_tus_uses_little_memory(
    product: Product, uploader: Uploader, large: Large
) -> None:
    warm_up(product)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Metadata": "token_id MQ=="}
    created = product.gateway.post("/uploads", headers=headers | {"Upload-Length": str(large.size)})
    memory = Memory(product.stack)
    answer = product.gateway.patch(
        created.headers["location"],
        headers=headers | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
        content=iter(large),
    )
    assert answer.status_code == 204, answer.text
    assert memory.growth() < 64 * MIB
    upload = uploader.get(created.headers["location"].rpartition("/")[2])
    assert upload.state == pb.UPLOAD_STATE_COMPLETED
    assert digest_and_delete(product, key_of(upload)) == large.sha256()


@pytest.mark.timeout(600)
def test_concurrent_uploads_share_the_memory_budget(
    product: Product, stack: Stack, is_long: bool
) -> None:
    """Memory stays below the budget plus the messages of 1 MiB that gRPC buffers per stream."""
    warm_up(product)
    content = wav((24 if is_long else 8) * MIB)
    memory = Memory(stack)

    def upload(number: int) -> int:
        with client_channel(stack.gateway_address) as channel:
            uploader = Uploader(channel)
            # Small uploads compete with large ones.
            recording = TAKE if number % 4 == 0 else content
            upload_id = uploader.create(1).upload_id
            return uploader.write(upload_id, 0, recording, finish=True).state

    with ThreadPoolExecutor(64) as pool:
        states = set(pool.map(upload, range(64)))
    assert states == {pb.UPLOAD_STATE_COMPLETED}
    assert memory.growth() < BUDGET + 64 * 4 * MIB


HELD_UPLOADS = 300
POD_BYTES = GIB
"""The memory limit of a pod of the upload service."""


async def hold_uploads(address: str, count: int, memory: Memory) -> None:
    """Send messages of 1 MiB in `count` streams at once until all wait for memory."""
    content = wav(MIB)
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(8)
        ]
        calls = []
        for number in range(count):
            stub = upload_pb2_grpc.UploadServiceStub(channels[number % len(channels)])
            upload = await stub.CreateUpload(pb.CreateUploadRequest(token_id=1))
            calls.append((stub.WriteUpload(), upload.upload_id))

        async def send(call: Any, upload_id: str) -> None:
            await call.write(pb.WriteUploadRequest(upload_id=upload_id, chunk=content))
            while True:
                await call.write(pb.WriteUploadRequest(chunk=content[44:]))

        sending = [asyncio.create_task(send(*each)) for each in calls]
        await asyncio.wait(sending, timeout=20)
        assert memory.peak() < POD_BYTES
        for task, (call, _) in zip(sending, calls, strict=True):
            task.cancel()
            call.cancel()
        await asyncio.wait(sending)


@pytest.mark.timeout(300)
def test_held_uploads_stay_within_the_memory_of_a_pod_and_give_it_back(
    product: Product, stack: Stack
) -> None:
    warm_up(product)
    memory = Memory(stack)
    asyncio.run(hold_uploads(stack.gateway_address, HELD_UPLOADS, memory))
    eventually(lambda: memory.now() < POD_BYTES // 2)


async def trickle(address: tuple[str, int], stop: asyncio.Event) -> None:
    """Upload one byte per second until `stop` is set."""
    _, writer = await asyncio.open_connection(*address)
    head = (
        "POST /tokens/1/upload-audio HTTP/1.1\r\nHost: sori\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    writer.write(head.encode() + TAKE[:100])
    try:
        for byte in TAKE[100:]:
            if stop.is_set():
                return
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    except ConnectionError:
        return
    finally:
        writer.close()


async def upload_takes(gateway_url: str, count: int) -> list[float]:
    """Upload takes one after another; returns the seconds that each needed."""
    times = []
    async with httpx.AsyncClient(base_url=gateway_url, timeout=60) as client:
        for _ in range(count):
            started = time.monotonic()
            answer = await client.post(
                "/tokens/1/upload-audio", files={"file": TAKE + uuid4().bytes}
            )
            assert answer.status_code == 200
            times.append(time.monotonic() - started)
    return times


@pytest.mark.timeout(300)
def test_hundreds_of_slow_uploads_do_not_block_a_take(
    product: Product,
    stack: Stack,
    is_long: bool,
    record_property: Callable[[str, object], None],
) -> None:
    warm_up(product)
    count = 1000 if is_long else 200

    async def measure() -> tuple[list[float], list[float]]:
        without_load = await upload_takes(stack.gateway_url, 20)
        stop = asyncio.Event()
        host, port = stack.gateway_address.split(":")
        slow = [asyncio.create_task(trickle((host, int(port)), stop)) for _ in range(count)]
        # Wait until all have connected: none of them is refused.
        await asyncio.sleep(10 if is_long else 5)
        assert not any(task.done() for task in slow)
        with_load = await upload_takes(stack.gateway_url, 20)
        assert not any(task.done() for task in slow)
        stop.set()
        await asyncio.gather(*slow)
        return without_load, with_load

    without_load, with_load = asyncio.run(measure())
    ratio = statistics.median(with_load) / statistics.median(without_load)
    record_property("slowdown", round(ratio, 2))
    if is_long:
        assert ratio < 2
