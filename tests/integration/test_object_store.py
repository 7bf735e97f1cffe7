"""The object store works with another S3 server than the stack's: moto, which follows AWS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from services.runtime.object_store import ObjectMissing, ObjectStore
from services.runtime.settings import ObjectStoreSettings

PART = bytes(range(256)) * 4 * 5 * 1024


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="sori")
    yield url
    server.stop()


@pytest.fixture
async def objects(endpoint: str) -> AsyncIterator[ObjectStore]:
    settings = ObjectStoreSettings(
        s3_endpoint_url=endpoint,
        aws_access_key_id="key",
        aws_secret_access_key=SecretStr("secret"),
    )
    async with ObjectStore.connect(settings) as objects:
        yield objects


async def content(objects: ObjectStore, key: str) -> bytes:
    return b"".join([piece async for piece in objects.read(key)])


async def test_an_object_in_one_request(objects: ObjectStore) -> None:
    await objects.put("one", b"hello", "audio/wav")
    assert await content(objects, "one") == b"hello"
    assert await objects.size("one") == 5


async def test_an_object_of_parts_with_gaps_in_their_numbers(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("parts", "audio/wav")
    parts = [
        await objects.put_part("parts", upload_id, number, part)
        for number, part in ((1, PART), (3, PART), (7, b"end"))
    ]
    assert all(part.checksum for part in parts)
    await objects.finish_multipart("parts", upload_id, parts)
    assert await content(objects, "parts") == PART + PART + b"end"


async def test_a_replaced_part_is_refused(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("replaced", "audio/wav")
    part = await objects.put_part("replaced", upload_id, 1, b"first")
    await objects.put_part("replaced", upload_id, 1, b"other")
    with pytest.raises(Exception, match="object store"):
        await objects.finish_multipart("replaced", upload_id, [part])


async def test_missing_objects_and_uploads(objects: ObjectStore) -> None:
    upload_id = await objects.start_multipart("gone", "audio/wav")
    await objects.abort_multiparts("gone")
    with pytest.raises(ObjectMissing):
        await objects.size("gone")
    with pytest.raises(ObjectMissing):
        await content(objects, "gone")
    await objects.abort_multipart("gone", upload_id)
    await objects.delete("gone")


async def test_all_objects_with_a_prefix_are_deleted(objects: ObjectStore) -> None:
    for number in range(5):
        await objects.put(f"tails/a/{number}", b"x", "audio/wav")
    await objects.put("tails/b/1", b"x", "audio/wav")
    await objects.delete_all("tails/a/")
    assert await content(objects, "tails/b/1") == b"x"
    with pytest.raises(ObjectMissing):
        await objects.size("tails/a/0")
