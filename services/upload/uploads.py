"""What an upload is: a file on its way to S3, across connections and replicas. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.object_store import UploadedPart
from services.upload.errors import (
    SizeMismatch,
    UploadEnded,
    UploadIncomplete,
    UploadOffsetAhead,
    UploadOffsetBehind,
)
from services.upload.stream import AssetKind

MIN_PART_BYTES = 5 * 1024**2
"""The least that S3 takes as a part other than the last."""

MAX_PARTS = 9_000
"""S3 takes 10,000; the rest is for parts that are sent again under a new number."""

_MIB = 1024**2


class State(StrEnum):
    """Where an upload stands; all but the first are for ever."""

    RECEIVING = "receiving"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Kind(StrEnum):
    """What an upload becomes."""

    RECORDING = "recording"
    """A recording of a job."""
    PIECE = "piece"
    """A piece of a recording that is put together of several uploads."""
    ASSET = "asset"
    """A reference asset of a token."""


@dataclass(frozen=True)
class Plan:
    """What is to be uploaded.

    token_id: 0 for a piece.
    file_name: as the client calls it, at most 255 characters.
    size: bytes of the whole; None while nobody knows.
    sha256: 32 bytes, checked at the end; None to trust what comes.
    request_id: names the request; empty when it has no name.
    ends_at_size: the upload is whole when its size is reached, without further words.
    client_metadata: what a client said of it and gets back unread.
    concat: how it is put together, as a client said it.
    asset_kind: of a reference asset.
    resumable: it goes on over other connections; otherwise it comes at once or not at all.
    """

    kind: Kind
    token_id: int = 0
    file_name: str = ""
    size: int | None = None
    sha256: bytes | None = None
    request_id: str = ""
    ends_at_size: bool = False
    client_metadata: str = ""
    concat: str = ""
    asset_kind: AssetKind | None = None
    resumable: bool = True

    def is_repeated_by(self, other: Plan) -> bool:
        """Whether two requests with the same id ask for the same upload."""
        return (self.kind, self.token_id, self.size, self.sha256) == (
            other.kind,
            other.token_id,
            other.size,
            other.sha256,
        )


@dataclass(frozen=True)
class Upload:
    """An upload as its caller sees it.

    job_id: None unless it becomes a recording.
    committed_size: bytes that are durable; never decreases.
    failure_reason: one of the error reasons; empty unless it failed.
    """

    upload_id: UUID
    plan: Plan
    state: State
    job_id: UUID | None
    committed_size: int
    expire_time: datetime
    create_time: datetime
    failure_reason: str = ""


@dataclass(frozen=True)
class TailObject:
    """An object that holds bytes after the last part. size: bytes; crc: CRC-32 of them."""

    key: str
    size: int
    crc: int


@dataclass(frozen=True)
class Progress:
    """What is durable of an upload.

    size: bytes. hash_state: of the SHA-256 of these bytes; None before the first.
    content_type: what the first bytes say, once enough of them are here.
    parts: of the multipart upload. tail: what came after them.
    whole: nothing is missing.
    """

    size: int = 0
    hash_state: bytes | None = None
    content_type: str | None = None
    parts: tuple[UploadedPart, ...] = ()
    tail: tuple[TailObject, ...] = ()
    whole: bool = False

    @property
    def tail_size(self) -> int:
        """Bytes after the last part."""
        return sum(each.size for each in self.tail)


@dataclass(frozen=True)
class Holding:
    """An upload as who works on it sees it.

    writer: the stream that may write it. writers: how many there have been.
    object_key: what it becomes. s3_upload_id: of the multipart upload, if there is one.
    part_bytes: size of each of its parts but the last.
    token_revision: of the token that it was begun with.
    lifetime: how long after the last sign of life it expires.
    """

    upload: Upload
    writer: UUID
    object_key: str
    part_bytes: int
    token_revision: int
    lifetime: timedelta
    writers: int = 0
    s3_upload_id: str | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def is_tidy(self) -> bool:
        """Whether S3 holds of it what is known and no more: nobody has died writing it."""
        return self.writers <= 1

    @property
    def tail_prefix(self) -> str:
        """What the keys of its tail begin with."""
        return f"tails/{self.upload.upload_id}/"


def part_bytes_for(size: int) -> int:
    """How large the parts of an upload of so many bytes are: whole MiB, as small as S3 takes.

    Up to 43.9 GiB that is 5 MiB; 5 TiB, the most that S3 takes, need 583 MiB.
    """
    needed = -(-size // MAX_PARTS)
    return max(MIN_PART_BYTES, -(-needed // _MIB) * _MIB)


def require_offset(upload: Upload, offset: int, exactly: bool) -> None:
    """Refuse to go on elsewhere. Errors: UploadOffsetAhead, UploadOffsetBehind (exactly)."""
    here = upload.committed_size
    if offset > here:
        raise UploadOffsetAhead(offset=offset, committed_size=here)
    if exactly and offset < here:
        raise UploadOffsetBehind(offset=offset, committed_size=here)


def require_piece(upload: Upload) -> None:
    """Refuse what is no whole piece. Errors: InvalidField, UploadIncomplete, UploadEnded."""
    if upload.plan.kind is not Kind.PIECE:
        problem = f"the upload {upload.upload_id} is no partial one"
        raise InvalidField(FieldViolation("upload_concat", problem))
    if upload.state is State.RECEIVING:
        raise UploadIncomplete(upload_id=upload.upload_id)
    if upload.state is not State.COMPLETED:
        raise ended_error(upload)


def is_surplus(error: BaseException) -> bool:
    """Whether more came than was declared."""
    if not isinstance(error, SizeMismatch):
        return False
    return int(error.metadata["received_bytes"]) > int(error.metadata["declared_bytes"])


def ended_error(upload: Upload) -> UploadEnded:
    """That an upload takes no more bytes."""
    # One that still seems to go on has expired, and nobody has swept it yet.
    state = State.EXPIRED if upload.state is State.RECEIVING else upload.state
    return UploadEnded.of(upload.upload_id, state, upload.failure_reason)
