"""A recording as it streams in, whatever protocol carries it.

A stream is one `Start`, any number of `bytes`, and one `Whole`. A client that
vanishes looks like a client that is done, so only `Whole` says that nothing is
missing: a stream that ends without it is cut short.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from services.runtime.errors import FieldViolation, IncompleteUpload, InvalidField
from sori.upload.v1 import upload_pb2 as pb

MAX_FILE_NAME_LENGTH = 255
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True)
class Start:
    """What comes.

    file_name: as the client calls it, at most 255 characters. request_id: names the
    request; empty when it has no name.
    """

    token_id: int
    file_name: str
    request_id: str


@dataclass(frozen=True)
class Whole:
    """Nothing is missing. size: bytes; sha256: 32 bytes; each checked when given."""

    size: int | None = None
    sha256: bytes | None = None


Item = Start | bytes | Whole


def start(token_id: int, file_name: str, request_id: str) -> Start:
    """The start of a stream. Errors: InvalidField."""
    violations = []
    if token_id < 1:
        violations.append(FieldViolation("token_id", "must be 1 or more"))
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        problem = "must be 1 to 128 letters, digits and '-_.:', best a UUID"
        violations.append(FieldViolation("request_id", problem))
    if violations:
        raise InvalidField(*violations)
    return Start(token_id, file_name.replace("\0", "")[:MAX_FILE_NAME_LENGTH], request_id)


async def items_of_messages(
    requests: AsyncIterator[pb.UploadAudioRequest], request_id: str
) -> AsyncGenerator[Item]:
    """The items of a gRPC upload.

    request_id: used when the stream itself gives none.
    Errors: InvalidField when messages come out of order.
    """
    first = await anext(requests, None)
    if first is None:
        raise IncompleteUpload
    if first.WhichOneof("payload") != "metadata":
        raise InvalidField(FieldViolation("metadata", "must be the first message"))
    metadata = first.metadata
    yield start(metadata.token_id, metadata.file_name, metadata.request_id or request_id)
    async for request in requests:
        match request.WhichOneof("payload"):
            case "chunk":
                yield request.chunk
            case "finish":
                yield _whole(request.finish)
                return
            case _:
                raise InvalidField(FieldViolation("payload", "must be chunk or finish"))


def _whole(finish: pb.UploadAudioFinish) -> Whole:
    sha256 = finish.sha256 if finish.HasField("sha256") else None
    if sha256 is not None and len(sha256) != 32:
        raise InvalidField(FieldViolation("finish.sha256", "must be 32 bytes"))
    return Whole(finish.size if finish.HasField("size") else None, sha256)
