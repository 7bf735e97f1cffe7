"""Resumable uploads survive faults of S3."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from sori.upload.v1 import upload_pb2 as pb
from stack.ports import free_ports
from stack.stack import Stack
from tests.chaos.cluster_fixture import client_channel, eventually
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.databases import copy_database
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
    """The proxy between the upload service and S3."""
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
    copy_database(folder)
    stack = Stack.on_free_ports(folder, environment, without=("analyzer", "accounts"))
    proxy.forward_to(f"127.0.0.1:{stack.settings.s3_port}")
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
    proxy.inject(Fault(), 0)
    proxy.close_connections()


def inject_fault(proxy: FaultyProxy, fault: Fault, times: int) -> None:
    """Close the connections to S3 and inject this fault into the next ones, `times` times."""
    proxy.close_connections()
    proxy.faults = 0
    proxy.inject(fault, times)


def test_a_part_is_retried_when_s3_asks_to_slow_down(
    product: Product, uploader: Uploader, proxy: FaultyProxy
) -> None:
    upload = uploader.create(1)
    inject_fault(proxy, Fault(answer=SLOW_DOWN), times=3)
    upload = uploader.write(upload.upload_id, 0, CONTENT, finish=True)
    assert proxy.faults
    product.recording_keys(1)
    assert upload.state == pb.UPLOAD_STATE_COMPLETED


def test_a_flipped_bit_on_the_way_to_s3_is_never_stored(
    product: Product, uploader: Uploader, proxy: FaultyProxy
) -> None:
    upload_id = uploader.create(2).upload_id
    inject_fault(proxy, Fault(after=3 * MIB, flip=True), times=2)
    with pytest.raises(grpc.RpcError) as caught:
        uploader.stub.WriteUpload(iter(messages(upload_id, 0, CONTENT, finish=True)), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert proxy.faults
    # This also closes connections that have not flipped their bit yet.
    inject_fault(proxy, Fault(), times=0)
    at = uploader.get(upload_id).committed_size
    upload = uploader.write(upload_id, at, CONTENT[at:], finish=True)
    assert_analysed(product, upload, CONTENT)


def test_an_outage_of_s3_loses_no_reported_byte(
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
