"""A file as it streams in, whatever protocol carries it. Pure, apart from reading the stream.

A client that vanishes looks like a client that has finished: both end the stream. So only
`Finish` states that nothing is missing; a stream that ends without it was cut short.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.upload.chunks import Chunk
from services.upload.errors import IncompleteUpload
from services.upload.models import AssetKind
from services.upload.request_ids import RequestId
from sori.upload.v1 import upload_pb2 as pb

MAX_FILE_NAME_LENGTH = 255
MAX_CHUNK_BYTES = 1024**2
"""gRPC holds a message in memory for each open stream, however little its client sends."""

MAX_MESSAGE_BYTES = MAX_CHUNK_BYTES + 64 * 1024
"""A chunk with the rest of its message. gRPC itself refuses larger messages."""


@dataclass(frozen=True)
class Finish:
    """States that nothing is missing. size: bytes; sha256: 32 bytes; each verified if given."""

    size: int | None = None
    sha256: bytes | None = None


Content = AsyncGenerator[Chunk | Finish]
"""The bytes of a file, and its finish if the stream states it."""


@dataclass(frozen=True)
class RecordingStart:
    """The start of a recording.

    file_name: on the client's device, at most 255 characters. request_id: as stored; empty
    when the client gives none. client: the key of limits per client. owner_id: the account or
    the guest that owns it; empty if neither.
    """

    token_id: int
    file_name: str
    request_id: str
    client: str
    owner_id: str = ""


@dataclass(frozen=True)
class AssetStart:
    """The start of a reference asset of a token.

    client: the key of limits per client. owner_id: the account that uploads it; may be empty.
    """

    token_id: int
    kind: AssetKind
    client: str
    owner_id: str = ""


@dataclass(frozen=True)
class PictureStart:
    """The start of a picture.

    client: the key of limits per client. account_id: the account that gets the picture.
    """

    client: str
    account_id: UUID


Start = TypeVar("Start", RecordingStart, AssetStart, PictureStart)


@dataclass(frozen=True)
class IncomingFile(Generic[Start]):
    """A file whose start has arrived; its content follows."""

    start: Start
    content: Content


def recording_start(
    token_id: int, file_name: str, request_id: RequestId, owner_id: str = ""
) -> RecordingStart:
    """Check the start of a recording. Errors: InvalidField."""
    violations = []
    if token_id < 1:
        violations.append(FieldViolation("token_id", "must be 1 or more"))
    violations += request_id.violations()
    if violations:
        raise InvalidField(*violations)
    return RecordingStart(
        token_id,
        file_name.replace("\0", "")[:MAX_FILE_NAME_LENGTH],
        request_id.within(token_id),
        request_id.client,
        owner_id,
    )


def asset_start(token_id: int, kind: str, client: str, owner_id: str = "") -> AssetStart:
    """Check the start of a reference asset. Errors: InvalidField."""
    violations = []
    if token_id < 1:
        violations.append(FieldViolation("token_id", "must be 1 or more"))
    if kind not in set(AssetKind):
        violations.append(FieldViolation("kind", f"must be one of {', '.join(AssetKind)}"))
    if violations:
        raise InvalidField(*violations)
    return AssetStart(token_id, AssetKind(kind), client, owner_id)


class _Request(Protocol):
    """One message of an upload, of a recording, an asset or a picture."""

    @property
    def metadata(self) -> Any:
        """The start of the file."""

    @property
    def chunk(self) -> bytes:
        """The next bytes."""

    @property
    def finish(self) -> pb.UploadAudioFinish:
        """The end of the file."""

    def WhichOneof(  # noqa: N802
        self, oneof_group: Literal["payload"]
    ) -> str | None:
        """The name of the field that is set."""


async def file_of_messages(
    requests: AsyncIterator[_Request], start_of: Callable[[Any], Start]
) -> IncomingFile[Start]:
    """The file of a gRPC upload.

    requests: after the first, a memoryview is a message with this chunk.
    start_of: converts the metadata of the first message.
    Errors: InvalidField when messages come out of order, those of `start_of`.
    """
    first = await anext(requests, None)
    if first is None:
        raise IncompleteUpload
    if first.WhichOneof("payload") != "metadata":
        raise InvalidField(FieldViolation("metadata", "must be the first message"))
    return IncomingFile(start_of(first.metadata), _content_of_messages(requests))


def require_chunk(chunk: Chunk) -> None:
    """Refuse a chunk that is too large. Errors: InvalidField."""
    if len(chunk) > MAX_CHUNK_BYTES:
        problem = f"must have at most {MAX_CHUNK_BYTES} bytes: send smaller chunks"
        raise InvalidField(FieldViolation("chunk", problem))


async def _content_of_messages(requests: AsyncIterator[_Request | memoryview]) -> Content:
    async for request in requests:
        if isinstance(request, memoryview):
            chunk: Chunk = request
        elif (payload := request.WhichOneof("payload")) == "chunk":
            chunk = request.chunk
        elif payload == "finish":
            yield _finish_of(request.finish)
            return
        else:
            raise InvalidField(FieldViolation("payload", "must be chunk or finish"))
        # Each reference would keep the message in memory while the stream waits.
        del request
        require_chunk(chunk)
        yield chunk
        del chunk


def _finish_of(message: pb.UploadAudioFinish) -> Finish:
    sha256 = message.sha256 if message.HasField("sha256") else None
    if sha256 is not None and len(sha256) != 32:
        raise InvalidField(FieldViolation("finish.sha256", "must be 32 bytes"))
    return Finish(message.size if message.HasField("size") else None, sha256)
