"""Resumable uploads survive faults of the network, of clients and of servers."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import grpc
import httpx
import pytest
from uuid_utils.compat import uuid7

from services.runtime.object_store import ObjectStore
from services.upload.clients import AnalysisClient
from services.upload.models import recording_key
from services.upload.orphans import HOUR, OrphanReaper
from services.upload.settings import UploadSettings
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.stack import Stack
from tests.chaos.cluster_fixture import client_channel, eventually
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.e2e.product import Product, plain_http
from tests.e2e.uploading import MIB, Uploader, assert_analysed, messages, wav
from tests.integration.upload.process import aged
from tests.stacks import new_stack

ENVIRONMENT = {
    # No analysis server runs here, so the jobs stay queued.
    "TARGET_SERVER_URL": "http://127.0.0.1:9/analyze-voice",
    "UPLOAD_IDLE_SECONDS": "3",
    "UPLOAD_SWEEP_SECONDS": "0.5",
    "UPLOAD_ORPHAN_SWEEP_SECONDS": "0.1",
}
REPLICAS = ("upload", "upload-2")
CONTENT = wav(12 * MIB + 345)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("uploads")
    with new_stack(folder, ENVIRONMENT, without=("analyzer", "accounts"), replicas=2) as stack:
        yield stack


@pytest.fixture
def product(stack: Stack) -> Iterator[Product]:
    with plain_http(stack.gateway_url, 30) as gateway:
        yield Product(stack, gateway)


@pytest.fixture
def token_id(product: Product) -> int:
    """A token that only this test uses."""
    actor = product.gateway.post("/actors", json={"name": f"actor {uuid4()}"}).json()
    token = product.gateway.post(
        "/tokens", json={"name": "token", "actor_ids": [actor["id"]], "end_time": 5}
    ).json()
    found: int = token["id"]
    return found


@pytest.fixture
def uploader(stack: Stack) -> Iterator[Uploader]:
    with client_channel(stack.gateway_address) as channel:
        yield Uploader(channel)


@pytest.fixture
def proxy(stack: Stack) -> Iterator[FaultyProxy]:
    with FaultyProxy(stack.address("upload")) as proxy:
        yield proxy


def try_write(
    proxy: FaultyProxy, upload_id: str, offset: int, content: bytes, finish: bool
) -> bool:
    """Write through the proxy; returns whether the write succeeded."""
    with grpc.insecure_channel(proxy.address) as channel:
        requests = messages(upload_id, offset, content, finish, step=256 * 1024)
        try:
            Uploader(channel).stub.WriteUpload(iter(requests), timeout=5)
        except grpc.RpcError:
            return False
    return True


def finish(uploader: Uploader, upload_id: str, content: bytes) -> pb.Upload:
    """Resume the upload and finish it; retries until that succeeds."""
    upload = uploader.get(upload_id)

    def has_finished() -> bool:
        nonlocal upload
        try:
            at = uploader.get(upload_id).committed_size
            upload = uploader.write(upload_id, at, content[at:], finish=True)
        except grpc.RpcError:
            return False
        return True

    eventually(has_finished)
    return upload


@pytest.mark.timeout(900)
def test_an_upload_survives_resets_and_kills(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, is_long: bool
) -> None:
    size, writes, kills = (200 * MIB, 50, 10) if is_long else (30 * MIB, 10, 3)
    random = Random(5)
    content = wav(size, seed=5)
    upload_id = uploader.create(token_id, sha256=hashlib.sha256(content).digest()).upload_id
    killed = set(random.sample(range(writes), kills))
    at = 0
    for number in range(writes):
        name = REPLICAS[number % 2]
        product.stack.wait_ready(name)
        proxy.forward_to(product.stack.address(name))
        fault_at = random.randint(1, 3 * size // writes)
        proxy.inject(Fault(after=fault_at, reset=True))
        if number in killed:
            proxy.inject(Fault(after=fault_at, stall=True))
            victim = grpc.insecure_channel(proxy.address)
            requests = messages(upload_id, at, content[at:], finish=False, step=256 * 1024)
            call = Uploader(victim).stub.WriteUpload.future(iter(requests), timeout=10)
            product.stack.kill(name)
            assert call.code() is not grpc.StatusCode.OK
            victim.close()
        else:
            try_write(proxy, upload_id, at, content[at:], finish=False)
        size_now = committed_size(uploader, upload_id)
        assert size_now >= at
        at = size_now
    upload = finish(uploader, upload_id, content)
    # The reaper deletes the leftovers of killed sessions when the upload is due: make it due now.
    make_due(product, upload_id)
    assert_analysed(product, upload, content)


def committed_size(uploader: Uploader, upload_id: str) -> int:
    """The committed size, as soon as a replica reports it."""
    sizes: list[int] = []

    def has_responded() -> bool:
        try:
            sizes.append(uploader.get(upload_id).committed_size)
        except grpc.RpcError:
            return False
        return True

    eventually(has_responded)
    return sizes[-1]


FAULTS = {
    "reset": Fault(after=7 * MIB, reset=True),
    "reset at the start": Fault(after=500, reset=True),
    "half-closed": Fault(after=7 * MIB, half_close=True),
    "stalled": Fault(after=7 * MIB, stall=True),
    "a byte at a time": Fault(after=2 * MIB, bytes_per_second=2000, piece=1),
    "10 KB/s": Fault(after=2 * MIB, bytes_per_second=10_000, piece=1024),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_upload_resumes_after_a_network_fault(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, fault: Fault
) -> None:
    upload_id = uploader.create(token_id).upload_id
    proxy.inject(fault)
    assert not try_write(proxy, upload_id, 0, CONTENT, finish=True)
    assert proxy.faults
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_tus_upload_resumes_after_a_network_fault(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, fault: Fault
) -> None:
    upload_id = uploader.create(token_id, size=len(CONTENT)).upload_id
    proxy.forward_to(product.stack.gateway_address)
    proxy.inject(fault)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    path = f"/uploads/{upload_id}"
    with pytest.raises(httpx.HTTPError):
        httpx.patch(
            f"http://{proxy.address}{path}", content=CONTENT, headers=headers, timeout=5
        ).raise_for_status()
    assert proxy.faults
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)


@pytest.mark.timeout(300)
def test_an_upload_completes_after_a_write_was_cancelled_at_any_moment(
    product: Product, uploader: Uploader, token_id: int, is_long: bool
) -> None:
    random = Random(7)

    def cancel_and_finish(_: int) -> None:
        content = wav(6 * MIB, seed=random.randrange(1_000_000))
        upload_id = uploader.create(token_id).upload_id
        uploader.write(upload_id, 0, content[: 4 * MIB])
        # The first part consists of the tail in S3 and of new bytes.
        requests = messages(upload_id, 4 * MIB, content[4 * MIB :], finish=True, step=MIB)
        call = uploader.stub.WriteUpload.future(iter(requests), timeout=30)
        time.sleep(random.uniform(0, 0.15))
        call.cancel()
        upload = finish(uploader, upload_id, content)
        key = recording_key(token_id, UUID(upload.job_id))
        assert (
            hashlib.sha256(product.object_content(key)).digest() == hashlib.sha256(content).digest()
        )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(cancel_and_finish, range(100 if is_long else 24)))


def test_a_flipped_bit_on_the_way_to_the_service_is_detected(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int
) -> None:
    digest = hashlib.sha256(CONTENT).digest()
    upload = uploader.create(token_id, sha256=digest)
    flipped = CONTENT[: 9 * MIB] + bytes([CONTENT[9 * MIB] ^ 1]) + CONTENT[9 * MIB + 1 :]
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 0, flipped, finish=True)
    assert "SHA-256" in str(caught.value.details())
    assert product.recording_keys(token_id) == []


def test_a_restarted_replica_keeps_the_received_bytes(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int
) -> None:
    upload_id = uploader.create(token_id).upload_id
    proxy.inject(Fault(after=7 * MIB, bytes_per_second=1000, piece=100))
    with grpc.insecure_channel(proxy.address) as channel:
        requests = messages(upload_id, 0, CONTENT, finish=False, step=64 * 1024)
        call = Uploader(channel).stub.WriteUpload.future(iter(requests), timeout=60)
        eventually(lambda: committed_size(uploader, upload_id) >= 5 * MIB)
        product.stack.restart("upload")
        assert call.code() is not grpc.StatusCode.OK
    # The tail is durable too, not only the full parts.
    assert committed_size(uploader, upload_id) > 5 * MIB
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)


def test_the_reaper_completes_an_upload_whose_client_is_gone(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload_id = uploader.create(token_id, size=len(CONTENT)).upload_id
    product.stack.stop("analysis")
    product.stack.stop("analysis-2")
    try:
        with pytest.raises(grpc.RpcError):
            uploader.write(upload_id, 0, CONTENT, finish=True)
    finally:
        for name in ("analysis", "analysis-2"):
            product.stack.start(name)
            product.stack.wait_ready(name)
    make_due(product, upload_id)
    eventually(lambda: uploader.get(upload_id).state == pb.UPLOAD_STATE_COMPLETED)
    assert_analysed(product, uploader.get(upload_id), CONTENT)


def make_due(product: Product, upload_id: str) -> None:
    """Make an upload due for the reaper now."""
    product.execute(
        "UPDATE upload.uploads SET due_time = now() WHERE upload_id = $1::uuid", upload_id
    )


def expire(product: Product, token_id: int) -> None:
    """Let all uploads of a token expire now."""
    product.execute(
        "UPDATE upload.uploads SET expire_time = now(), due_time = now() WHERE token_id = $1",
        token_id,
    )


@pytest.mark.timeout(300)
def test_abandoned_uploads_expire_and_leave_nothing_in_s3(
    product: Product, uploader: Uploader, token_id: int, is_long: bool
) -> None:
    count = 100 if is_long else 20
    sizes = [0, 1000, 2 * MIB, 6 * MIB]
    uploads = [uploader.create(token_id) for _ in range(count)]
    for number, upload in enumerate(uploads):
        uploader.write(upload.upload_id, 0, CONTENT[: sizes[number % len(sizes)]])
    assert product.object_keys("tails/")
    assert product.recording_keys(token_id)

    expire(product, token_id)

    def states() -> set[int]:
        return {uploader.get(each.upload_id).state for each in uploads}

    eventually(lambda: states() == {pb.UPLOAD_STATE_EXPIRED})
    eventually(lambda: not product.recording_keys(token_id))
    eventually(lambda: not any(product.object_keys(f"tails/{each.upload_id}/") for each in uploads))
    for upload in uploads[:3]:
        assert product.final_result(upload.job_id)["failure_reason"] == "UPLOAD_EXPIRED"
    # The reaper finally deletes their rows.
    expire(product, token_id)
    with pytest.raises(grpc.RpcError) as caught:
        eventually(lambda: not exists(uploader, uploads[0].upload_id))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def exists(uploader: Uploader, upload_id: str) -> bool:
    """True; an upload that does not exist raises an RpcError."""
    uploader.get(upload_id)
    return True


def endless_upload(token_id: int) -> Iterator[pb.UploadAudioRequest]:
    """A one-shot upload that is never finished."""
    metadata = pb.UploadAudioMetadata(token_id=token_id)
    yield pb.UploadAudioRequest(metadata=metadata)
    for start in range(0, len(CONTENT), MIB):
        yield pb.UploadAudioRequest(chunk=CONTENT[start : start + MIB])
    while True:
        time.sleep(0.2)
        yield pb.UploadAudioRequest(chunk=b"more")


def test_a_one_shot_upload_leaves_nothing_in_s3_when_its_replica_is_killed(
    product: Product, token_id: int, stack: Stack
) -> None:
    with grpc.insecure_channel(stack.address("upload")) as channel:
        call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(
            endless_upload(token_id), timeout=30
        )
        eventually(lambda: bool(product.recording_keys(token_id)))
        stack.kill("upload")
        assert call.code() is not grpc.StatusCode.OK
    stack.wait_ready("upload")
    expire(product, token_id)
    eventually(lambda: not product.recording_keys(token_id))
    (job_id,) = product.jobs_of(token_id)
    assert product.final_result(job_id)["failure_reason"] == "UPLOAD_TIMED_OUT"


@pytest.mark.timeout(300)
def test_a_recording_without_a_job_is_deleted_when_its_process_died_before_the_submission(
    product: Product, token_id: int, stack: Stack
) -> None:
    # As if another process had died hours ago.
    old = recording_key(token_id, aged(uuid7(), timedelta(hours=3)))
    product.replace_object(old, CONTENT[:1000])
    for name in ("analysis", "analysis-2"):
        stack.stop(name)
    try:
        with grpc.insecure_channel(stack.address("upload")) as channel:
            stub = upload_pb2_grpc.UploadServiceStub(channel)
            call = stub.UploadAudio.future(one_shot(token_id, CONTENT[:100_000]), timeout=30)

            def is_stored() -> bool:
                nonlocal call
                # A take for which a slow machine needs a second is refused without analysis.
                if call.done():
                    call = stub.UploadAudio.future(one_shot(token_id, CONTENT[:100_000]))
                return len(product.recording_keys(token_id)) > 1

            eventually(is_stored)
            stack.kill("upload")
            assert call.code() is not grpc.StatusCode.OK
    finally:
        for name in ("analysis", "analysis-2"):
            stack.start(name)
            stack.wait_ready(name)
    assert product.jobs_of(token_id) == []
    # The process that was started again checks the hours before.
    eventually(lambda: old not in product.recording_keys(token_id))
    assert product.recording_keys(token_id)
    stack.wait_ready("upload")
    # Hours later, it also checks the recording of the process that was killed.
    asyncio.run(reap_orphans_after(stack, timedelta(hours=4)))
    assert product.recording_keys(token_id) == []


def one_shot(token_id: int, content: bytes) -> Iterator[pb.UploadAudioRequest]:
    """A one-shot upload that is finished."""
    yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=token_id))
    for start in range(0, len(content), MIB):
        yield pb.UploadAudioRequest(chunk=content[start : start + MIB])
    yield pb.UploadAudioRequest(finish=pb.UploadAudioFinish())


async def reap_orphans_after(stack: Stack, time: timedelta) -> None:
    """Check the recordings of this hour and of the one before, as a process does later."""
    settings = UploadSettings.model_validate(
        {name.lower(): value for name, value in stack.environment.items()}
    )
    async with (
        ObjectStore.connect(settings) as objects,
        grpc.aio.insecure_channel(stack.address("analysis")) as channel,
    ):
        reaper = OrphanReaper(
            objects, AnalysisClient(channel), time + HOUR, lambda: datetime.now(UTC) + time
        )
        for _ in range(2):
            await reaper.reap()


def test_a_lost_multipart_upload_fails_the_upload(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload = uploader.create(token_id)
    uploader.write(upload.upload_id, 0, CONTENT[: 6 * MIB])
    product.abort_multipart_uploads(recording_key(token_id, UUID(upload.job_id)))
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 6 * MIB, CONTENT[6 * MIB :], finish=True)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert uploader.get(upload.upload_id).failure_reason == "UPLOAD_LOST"
    assert product.final_result(upload.job_id)["failure_reason"] == "UPLOAD_LOST"
    assert product.recording_keys(token_id) == []


def test_a_changed_tail_object_fails_the_upload(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload = uploader.create(token_id)
    uploader.write(upload.upload_id, 0, CONTENT[:1000])
    (key,) = product.object_keys(f"tails/{upload.upload_id}/")
    product.replace_object(key, bytes([CONTENT[0] ^ 1]) + CONTENT[1:1000])
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 1000, CONTENT[1000:], finish=True)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert product.recording_keys(token_id) == []


def test_an_idle_upload_is_interrupted_and_can_resume(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload_id = uploader.create(token_id).upload_id

    def idle() -> Iterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(upload_id=upload_id, chunk=CONTENT[:1000])
        done.wait(30)

    done = threading.Event()
    with pytest.raises(grpc.RpcError) as caught:
        uploader.stub.WriteUpload(idle(), timeout=30)
    done.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "Nothing came for 3 s" in str(caught.value.details())
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)
