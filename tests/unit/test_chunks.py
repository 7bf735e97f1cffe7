"""Chunks of at most 1 MiB are accepted; larger ones are refused with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from services.runtime.errors import InvalidField
from services.upload.converters import content_of_writes
from services.upload.request_ids import RequestId
from services.upload.stream import (
    MAX_CHUNK_BYTES,
    MAX_MESSAGE_BYTES,
    RecordingStart,
    file_of_messages,
    recording_start,
)
from sori.upload.v1 import upload_pb2 as pb


async def written(chunk: bytes) -> list[object]:
    async def others() -> AsyncIterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(chunk=chunk)

    return [item async for item in content_of_writes(pb.WriteUploadRequest(), others())]


async def streamed(chunk: bytes) -> list[object]:
    async def requests() -> AsyncIterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=1))
        yield pb.UploadAudioRequest(chunk=chunk)

    def start_of(metadata: pb.UploadAudioMetadata) -> RecordingStart:
        return recording_start(metadata.token_id, "", RequestId("", "192.0.2.1"))

    file = await file_of_messages(requests(), start_of)
    return [item async for item in file.content]


Receive = Callable[[bytes], Coroutine[Any, Any, list[object]]]


@pytest.mark.parametrize("receive", [written, streamed])
def test_a_chunk_of_1_mib_is_accepted_and_a_larger_one_asks_for_smaller_ones(
    receive: Receive,
) -> None:
    assert asyncio.run(receive(bytes(MAX_CHUNK_BYTES))) == [bytes(MAX_CHUNK_BYTES)]
    with pytest.raises(InvalidField, match="send smaller chunks"):
        asyncio.run(receive(bytes(MAX_CHUNK_BYTES + 1)))


def test_the_server_receives_every_chunk_that_is_allowed() -> None:
    request = pb.WriteUploadRequest(
        upload_id="x" * 36, write_offset=2**62, chunk=bytes(MAX_CHUNK_BYTES + 1), finish_write=True
    )
    assert request.ByteSize() <= MAX_MESSAGE_BYTES
