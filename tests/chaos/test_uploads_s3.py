"""An upload survives an S3 that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from sori.upload.v1 import upload_pb2 as pb
from stack.ports import free_ports
from stack.stack import Stack
from tests.chaos.cluster_fixture import client_channel, eventually
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.e2e.product import Product, plain_http
from tests.e2e.uploading import MIB, Uploader, assert_analysed, messages, wav

CONTENT = wav(12 * MIB + 345)
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 119\r\n"
    b"Connection: close\r\n\r\n"
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyProxy]:
    """The way from the upload service to S3."""
    with FaultyProxy(f"127.0.0.1:{free_ports(1)[0]}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, proxy: FaultyProxy) -> Iterator[Stack]:
    environment = {
        "TARGET_SERVER_URL": "http://127.0.0.1:9/analyze-voice",
        "S3_ENDPOINT_URL": f"http://{proxy.address}",
        "UPLOAD_SWEEP_SECONDS": "0.5",
    }
    folder = tmp_path_factory.mktemp("s3")
    stack = Stack.on_free_ports(folder, environment, without=("analyzer",))
    proxy.lead_to(f"127.0.0.1:{stack.settings.s3_port}")
    with stack:
        yield stack


@pytest.fixture
def product(stack: Stack) -> Iterator[Product]:
    with plain_http(stack.gateway_url, 30) as gateway:
        yield Product(stack, gateway)


@pytest.fixture
def uploader(stack: Stack, proxy: FaultyProxy) -> Iterator[Uploader]:
    with client_channel(stack.gateway_address) as channel:
        yield Uploader(channel)
    proxy.break_with(Fault(), 0)
    proxy.cut()


def broken(proxy: FaultyProxy, fault: Fault, times: int) -> None:
    """Break what is said to S3 from now on, so many times."""
    proxy.cut()
    proxy.faults = 0
    proxy.break_with(fault, times)


def test_an_s3_that_asks_to_slow_down_gets_time(
    product: Product, uploader: Uploader, proxy: FaultyProxy
) -> None:
    upload = uploader.create(1)
    broken(proxy, Fault(answer=SLOW_DOWN), times=3)
    upload = uploader.write(upload.upload_id, 0, CONTENT, finish=True)
    assert proxy.faults
    product.stored(1)
    assert upload.state == pb.UPLOAD_STATE_COMPLETED


def test_a_byte_that_is_flipped_on_the_way_to_s3_is_never_kept(
    product: Product, uploader: Uploader, proxy: FaultyProxy
) -> None:
    upload_id = uploader.create(2).upload_id
    broken(proxy, Fault(after=3 * MIB, flip=True), times=2)
    with pytest.raises(grpc.RpcError) as caught:
        uploader.stub.WriteUpload(iter(messages(upload_id, 0, CONTENT, finish=True)), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert proxy.faults
    # A connection that has yet to flip its byte is not used again, either.
    broken(proxy, Fault(), times=0)
    at = uploader.get(upload_id).committed_size
    upload = uploader.write(upload_id, at, CONTENT[at:], finish=True)
    assert_analysed(product, upload, CONTENT)


def test_an_s3_that_is_away_costs_no_byte_that_was_told(
    product: Product, uploader: Uploader, proxy: FaultyProxy
) -> None:
    upload_id = uploader.create(3).upload_id
    uploader.write(upload_id, 0, CONTENT[: 6 * MIB])
    product.stack.stop("s3")
    with pytest.raises(grpc.RpcError) as caught:
        uploader.stub.WriteUpload(
            iter(messages(upload_id, 6 * MIB, CONTENT[6 * MIB : 7 * MIB], finish=False)),
            timeout=60,
        )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert uploader.get(upload_id).committed_size == 6 * MIB
    product.stack.start("s3")
    product.stack.wait_ready("s3")
    eventually(lambda: product.gateway.get("/healthz").status_code == 200)
    upload = uploader.write(upload_id, 6 * MIB, CONTENT[6 * MIB :], finish=True)
    assert_analysed(product, upload, CONTENT)
