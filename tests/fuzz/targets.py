"""Fuzz targets: the parsers of uploads accept or refuse any input, and leave no task running.

Each target accepts any bytes. An exception is a finding.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import DecodeError

from services.runtime.errors import SoriError
from services.upload import tus
from services.upload.chunks import Chunk
from services.upload.converters import offset_from, upload_id_from
from services.upload.form import file_of_form
from services.upload.request_ids import RequestId
from services.upload.stream import Finish, RecordingStart, recording_start
from services.upload.wire import DESERIALIZERS
from sori.upload.v1 import upload_pb2 as pb

BOUNDARIES = ("b", "-" * 70, "boundary", "\r\n--", "")
PIECES = (1, 7, 1000, 65536)
HEADERS = (
    "upload-length",
    "upload-defer-length",
    "upload-offset",
    "upload-metadata",
    "upload-checksum",
    "upload-concat",
    "tus-resumable",
)


_deserialize = DESERIALIZERS["/sori.upload.v1.UploadService/UploadAudioForm"]
UNNAMED = RequestId("", "192.0.2.1")


def form(data: bytes) -> None:
    """A form. The first byte selects its boundary, the second its piece size; its body follows."""
    if len(data) < 2:
        return
    boundary = BOUNDARIES[data[0] % len(BOUNDARIES)]
    size = PIECES[data[1] % len(PIECES)]
    asyncio.run(_parse_form(boundary, [data[at : at + size] for at in range(2, len(data), size)]))


async def _parse_form(boundary: str, pieces: list[bytes]) -> None:
    items: list[Chunk | Finish] = []
    with suppress(SoriError):
        file = await file_of_form(_requests(boundary, pieces), _start)
        # One by one, so that the items before an error are checked too.
        async for item in file.content:
            items.append(item)  # noqa: PERF401
    # The file has no more bytes than the body, and no item follows the finish.
    received = sum(len(item) for item in items if not isinstance(item, Finish))
    assert received <= sum(map(len, pieces))
    assert not any(isinstance(item, Finish) for item in items[:-1])
    assert len(asyncio.all_tasks()) == 1


def _start(_: object, file_name: str) -> RecordingStart:
    return recording_start(1, file_name, UNNAMED)


async def _requests(boundary: str, pieces: list[bytes]) -> AsyncIterator[Any]:
    content_type = f"multipart/form-data; boundary={boundary}"
    yield pb.UploadAudioFormRequest(token_id=1, form=HttpBody(content_type=content_type))
    for piece in pieces:
        request = pb.UploadAudioFormRequest(form=HttpBody(data=piece))
        # As the server passes them on.
        yield _deserialize(request.SerializeToString())


def tus_headers(data: bytes) -> None:
    """The tus headers: one value per line, in the order of HEADERS."""
    values = data.decode("latin-1").split("\n")
    headers = {name: value for name, value in zip(HEADERS, values, strict=False) if value}
    for read in (
        tus.require_version,
        tus.offset_of,
        tus.late_size_of,
        tus.checksum_of,
        lambda each: tus.creation_of(each, UNNAMED),
    ):
        with suppress(SoriError):
            read(headers)


def write_requests(data: bytes) -> None:
    """The first message of a write."""
    with suppress(SoriError, DecodeError):
        request = pb.WriteUploadRequest.FromString(data)
        offset_from(request)
        upload_id_from(request.upload_id)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "form": form,
    "tus": tus_headers,
    "write": write_requests,
}
