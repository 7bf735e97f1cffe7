"""The stack's S3 server verifies signatures and checksums of what is stored."""

from __future__ import annotations

import pytest

from services.runtime import object_store
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore
from services.runtime.s3_checksums import Chunk
from tests.integration.upload.process import MIB, Backends

pytestmark = pytest.mark.asyncio(loop_scope="package")

CONTENT: list[Chunk] = [bytes(MIB), memoryview(b"not the tail")[4:], bytearray(b"!")]


async def content(objects: ObjectStore, key: str) -> bytes:
    return b"".join([piece async for piece in objects.read(key)])


async def test_chunks_become_one_object(backends: Backends) -> None:
    objects, key = backends.objects, "chunks/a b+소리.wav"
    await objects.put(key, CONTENT, "audio/wav")
    assert await content(objects, key) == b"".join(CONTENT)
    stored = await backends.s3.head_object(Bucket=backends.bucket, Key=key)
    assert stored["ContentType"] == "audio/wav"


async def test_chunks_become_one_part(backends: Backends) -> None:
    objects, key = backends.objects, "chunks/parts"
    upload_id = await objects.start_multipart(key, "audio/wav")
    part = await objects.put_part(key, upload_id, 3, CONTENT)
    await objects.finish_multipart(key, upload_id, [part])
    assert await content(objects, key) == b"".join(CONTENT)


async def test_bytes_that_differ_from_their_checksum_are_refused(
    backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def of_other_bytes(*_: object) -> dict[str, str]:
        return {"x-amz-checksum-crc32": "NhCmhg=="}

    monkeypatch.setattr(object_store, "checksum_header", of_other_bytes)
    with pytest.raises(StorageUnavailable):
        await backends.objects.put("chunks/other", b"other", "audio/wav")
