"""An upload survives its network, its client and its servers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import uuid4

import grpc
import httpx
import pytest

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.stack import Stack
from tests.chaos.cluster_fixture import client_channel, eventually
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.e2e.product import Product, plain_http
from tests.e2e.uploading import MIB, Uploader, assert_analysed, messages, wav
from tests.stacks import new_stack

ENVIRONMENT = {
    # Nobody analyses: the jobs stay queued.
    "TARGET_SERVER_URL": "http://127.0.0.1:9/analyze-voice",
    "UPLOAD_IDLE_SECONDS": "3",
    "UPLOAD_SWEEP_SECONDS": "0.5",
}
REPLICAS = ("upload", "upload-2")
CONTENT = wav(12 * MIB + 345)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("uploads")
    with new_stack(folder, ENVIRONMENT, without=("analyzer",), replicas=2) as stack:
        yield stack


@pytest.fixture
def product(stack: Stack) -> Iterator[Product]:
    with plain_http(stack.gateway_url, 30) as gateway:
        yield Product(stack, gateway)


@pytest.fixture
def token_id(product: Product) -> int:
    """A token of this test alone."""
    actor = product.gateway.post("/actors", json={"name": f"actor {uuid4()}"}).json()
    token = product.gateway.post(
        "/tokens", json={"name": "kept", "actor_ids": [actor["id"]], "end_time": 5}
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


def written(proxy: FaultyProxy, upload_id: str, offset: int, content: bytes, finish: bool) -> bool:
    """Write over a link until the link or the server breaks; whether it was answered."""
    with grpc.insecure_channel(proxy.address) as channel:
        sent = messages(upload_id, offset, content, finish, step=256 * 1024)
        try:
            Uploader(channel).stub.WriteUpload(iter(sent), timeout=5)
        except grpc.RpcError:
            return False
    return True


def finish(uploader: Uploader, upload_id: str, content: bytes) -> pb.Upload:
    """Go on to the end, as often as it takes."""
    upload = uploader.get(upload_id)

    def done() -> bool:
        nonlocal upload
        try:
            at = uploader.get(upload_id).committed_size
            upload = uploader.write(upload_id, at, content[at:], finish=True)
        except grpc.RpcError:
            return False
        return True

    eventually(done)
    return upload


@pytest.mark.timeout(900)
def test_an_upload_survives_cuts_and_kills(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, is_long: bool
) -> None:
    size, cuts, kills = (200 * MIB, 50, 10) if is_long else (30 * MIB, 10, 3)
    random = Random(5)
    content = wav(size, seed=5)
    upload_id = uploader.create(token_id, sha256=hashlib.sha256(content).digest()).upload_id
    killed = set(random.sample(range(cuts), kills))
    at = 0
    for cut in range(cuts):
        name = REPLICAS[cut % 2]
        product.stack.wait_ready(name)
        proxy.lead_to(product.stack.address(name))
        passes = random.randint(1, 3 * size // cuts)
        proxy.break_with(Fault(after=passes, reset=True))
        if cut in killed:
            proxy.break_with(Fault(after=passes, stall=True))
            victim = grpc.insecure_channel(proxy.address)
            sent = messages(upload_id, at, content[at:], finish=False, step=256 * 1024)
            call = Uploader(victim).stub.WriteUpload.future(iter(sent), timeout=10)
            product.stack.kill(name)
            assert call.code() is not grpc.StatusCode.OK
            victim.close()
        else:
            written(proxy, upload_id, at, content[at:], finish=False)
        told = committed(uploader, upload_id)
        assert told >= at
        at = told
    upload = finish(uploader, upload_id, content)
    # What the dead left is swept a while later: now.
    run_out(product, upload_id)
    assert_analysed(product, upload, content)


def committed(uploader: Uploader, upload_id: str) -> int:
    """The committed size, as soon as a replica tells it."""
    sizes: list[int] = []

    def told() -> bool:
        try:
            sizes.append(uploader.get(upload_id).committed_size)
        except grpc.RpcError:
            return False
        return True

    eventually(told)
    return sizes[-1]


FAULTS = {
    "reset": Fault(after=7 * MIB, reset=True),
    "reset at once": Fault(after=500, reset=True),
    "half-closed": Fault(after=7 * MIB, half_close=True),
    "stalled": Fault(after=7 * MIB, stall=True),
    "a byte at a time": Fault(after=2 * MIB, bytes_per_second=2000, piece=1),
    "10 KB/s": Fault(after=2 * MIB, bytes_per_second=10_000, piece=1024),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_upload_goes_on_after_a_fault_of_the_network(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, fault: Fault
) -> None:
    upload_id = uploader.create(token_id).upload_id
    proxy.break_with(fault)
    assert not written(proxy, upload_id, 0, CONTENT, finish=True)
    assert proxy.faults
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_tus_goes_on_after_a_fault_of_the_network(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int, fault: Fault
) -> None:
    upload_id = uploader.create(token_id, size=len(CONTENT)).upload_id
    proxy.lead_to(product.stack.gateway_address)
    proxy.break_with(fault)
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
def test_a_write_may_be_cancelled_at_any_moment(
    product: Product, uploader: Uploader, token_id: int, is_long: bool
) -> None:
    random = Random(7)

    def cancelled(_: int) -> None:
        content = wav(6 * MIB, seed=random.randrange(1_000_000))
        upload_id = uploader.create(token_id).upload_id
        uploader.write(upload_id, 0, content[: 4 * MIB])
        # A part is put together of what is in S3 and what comes.
        sent = messages(upload_id, 4 * MIB, content[4 * MIB :], finish=True, step=MIB)
        call = uploader.stub.WriteUpload.future(iter(sent), timeout=30)
        time.sleep(random.uniform(0, 0.15))
        call.cancel()
        upload = finish(uploader, upload_id, content)
        key = f"recordings/{token_id}/{upload.job_id}"
        assert hashlib.sha256(product.content(key)).digest() == hashlib.sha256(content).digest()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(cancelled, range(100 if is_long else 24)))


def test_a_flipped_byte_on_the_way_is_caught(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int
) -> None:
    digest = hashlib.sha256(CONTENT).digest()
    upload = uploader.create(token_id, sha256=digest)
    flipped = CONTENT[: 9 * MIB] + bytes([CONTENT[9 * MIB] ^ 1]) + CONTENT[9 * MIB + 1 :]
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 0, flipped, finish=True)
    assert "SHA-256" in str(caught.value.details())
    assert product.stored(token_id) == []


def test_a_replica_that_is_replaced_keeps_what_came(
    product: Product, uploader: Uploader, proxy: FaultyProxy, token_id: int
) -> None:
    upload_id = uploader.create(token_id).upload_id
    proxy.break_with(Fault(after=7 * MIB, bytes_per_second=1000, piece=100))
    with grpc.insecure_channel(proxy.address) as channel:
        sent = messages(upload_id, 0, CONTENT, finish=False, step=64 * 1024)
        call = Uploader(channel).stub.WriteUpload.future(iter(sent), timeout=60)
        eventually(lambda: committed(uploader, upload_id) >= 5 * MIB)
        product.stack.restart("upload")
        assert call.code() is not grpc.StatusCode.OK
    # Not only the parts that were full.
    assert committed(uploader, upload_id) > 5 * MIB
    assert_analysed(product, finish(uploader, upload_id, CONTENT), CONTENT)


def test_what_was_whole_is_finished_though_nobody_is_left(
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
    run_out(product, upload_id)
    eventually(lambda: uploader.get(upload_id).state == pb.UPLOAD_STATE_COMPLETED)
    assert_analysed(product, uploader.get(upload_id), CONTENT)


def run_out(product: Product, upload_id: str) -> None:
    """Let the time of who had an upload be over now."""
    product.execute(
        "UPDATE upload.uploads SET due_time = now() WHERE upload_id = $1::uuid", upload_id
    )


def expire(product: Product, token_id: int) -> None:
    """Let the time of a token's uploads be over now."""
    product.execute(
        "UPDATE upload.uploads SET expire_time = now(), due_time = now() WHERE token_id = $1",
        token_id,
    )


@pytest.mark.timeout(300)
def test_abandoned_uploads_leave_nothing(
    product: Product, uploader: Uploader, token_id: int, is_long: bool
) -> None:
    count = 100 if is_long else 20
    sizes = [0, 1000, 2 * MIB, 6 * MIB]
    uploads = [uploader.create(token_id) for _ in range(count)]
    for number, upload in enumerate(uploads):
        uploader.write(upload.upload_id, 0, CONTENT[: sizes[number % len(sizes)]])
    assert product.objects("tails/")
    assert product.stored(token_id)

    expire(product, token_id)

    def states() -> set[int]:
        return {uploader.get(each.upload_id).state for each in uploads}

    eventually(lambda: states() == {pb.UPLOAD_STATE_EXPIRED})
    eventually(lambda: not product.stored(token_id))
    eventually(lambda: not any(product.objects(f"tails/{each.upload_id}/") for each in uploads))
    for upload in uploads[:3]:
        assert product.ended(upload.job_id)["failure_reason"] == "UPLOAD_EXPIRED"
    # They are forgotten in the end.
    expire(product, token_id)
    with pytest.raises(grpc.RpcError) as caught:
        eventually(lambda: not exists(uploader, uploads[0].upload_id))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def exists(uploader: Uploader, upload_id: str) -> bool:
    """True; an upload that does not exist raises an RpcError."""
    uploader.get(upload_id)
    return True


def without_an_end(token_id: int) -> Iterator[pb.UploadAudioRequest]:
    metadata = pb.UploadAudioMetadata(token_id=token_id)
    yield pb.UploadAudioRequest(metadata=metadata)
    for start in range(0, len(CONTENT), MIB):
        yield pb.UploadAudioRequest(chunk=CONTENT[start : start + MIB])
    while True:
        time.sleep(0.2)
        yield pb.UploadAudioRequest(chunk=b"more")


def test_what_comes_at_once_and_whose_replica_is_killed_leaves_nothing(
    product: Product, token_id: int, stack: Stack
) -> None:
    with grpc.insecure_channel(stack.address("upload")) as channel:
        call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(
            without_an_end(token_id), timeout=30
        )
        eventually(lambda: bool(product.stored(token_id)))
        stack.kill("upload")
        assert call.code() is not grpc.StatusCode.OK
    stack.wait_ready("upload")
    expire(product, token_id)
    eventually(lambda: not product.stored(token_id))
    (job_id,) = product.jobs_of(token_id)
    assert product.ended(job_id)["failure_reason"] == "UPLOAD_TIMED_OUT"


def test_a_multipart_upload_that_vanished_ends_the_upload(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload = uploader.create(token_id)
    uploader.write(upload.upload_id, 0, CONTENT[: 6 * MIB])
    product.abort_multiparts(f"recordings/{token_id}/")
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 6 * MIB, CONTENT[6 * MIB :], finish=True)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert uploader.get(upload.upload_id).failure_reason == "UPLOAD_LOST"
    assert product.ended(upload.job_id)["failure_reason"] == "UPLOAD_LOST"
    assert product.stored(token_id) == []


def test_a_tail_that_was_changed_ends_the_upload(
    product: Product, uploader: Uploader, token_id: int
) -> None:
    upload = uploader.create(token_id)
    uploader.write(upload.upload_id, 0, CONTENT[:1000])
    (key,) = product.objects(f"tails/{upload.upload_id}/")
    product.replace(key, bytes([CONTENT[0] ^ 1]) + CONTENT[1:1000])
    with pytest.raises(grpc.RpcError) as caught:
        uploader.write(upload.upload_id, 1000, CONTENT[1000:], finish=True)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert product.stored(token_id) == []


def test_an_idle_upload_is_cut_and_kept(
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
