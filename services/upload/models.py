"""What an upload is: a file on its way to S3, across connections and replicas. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from services.runtime.callers import is_guest
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.ids import unix_seconds_of
from services.runtime.uploaded_part import UploadedPart
from services.upload.errors import (
    UploadEnded,
    UploadIncomplete,
    UploadOffsetAhead,
    UploadOffsetBehind,
)
from services.upload.state import OPEN, State

MIN_PART_BYTES = 5 * 1024**2
"""The smallest part that S3 accepts, other than the last."""

MAX_PARTS = 9_000
"""S3 accepts 10,000; the rest is for parts that are sent again under a new number."""

ONE_SHOT_LIFETIME = timedelta(seconds=120)
"""An upload that cannot be resumed is considered dead without a heartbeat for this long."""

_MIB = 1024**2


class Kind(StrEnum):
    """What an upload becomes."""

    RECORDING = "recording"
    """The recording of a job."""
    PARTIAL = "partial"
    """A part of a later concatenation (tus)."""
    ASSET = "asset"
    """A reference asset of a token."""
    PICTURE = "picture"
    """The picture of an account."""


class AssetKind(StrEnum):
    """What a reference asset is."""

    VOICE = "voice"
    PITCH = "pitch"
    ALIGNMENT = "alignment"
    BACKGROUND = "background"


@dataclass(frozen=True)
class Plan:
    """What a client wants to upload.

    token_id: 0 for a partial upload and for a picture.
    file_name: on the client's device, at most 255 characters.
    size: bytes of the file; None while unknown.
    sha256: 32 bytes, verified at the end; None when the client declares none.
    request_id: names the request; empty when it has no name.
    client: the key of limits per client; "unknown" for callers without an address.
    owner_id: the account or the guest that owns the upload; empty if neither. Of a picture, the
    account that gets it.
    ends_at_size: the upload is complete when it reaches its size, without a finish message.
    client_metadata: metadata that the client gets back unchanged.
    client_concat: how the client described the concatenation; it gets this back unchanged.
    is_concatenation: the content comes from other uploads, not from the client.
    asset_kind: for reference assets.
    resumable: the upload may continue on other connections; otherwise it is one-shot.
    """

    kind: Kind
    token_id: int = 0
    file_name: str = ""
    size: int | None = None
    sha256: bytes | None = None
    request_id: str = ""
    client: str = "unknown"
    owner_id: str = ""
    ends_at_size: bool = False
    client_metadata: str = ""
    client_concat: str = ""
    is_concatenation: bool = False
    asset_kind: AssetKind | None = None
    resumable: bool = True

    @property
    def is_kept(self) -> bool:
        """Whether clients can ask about the upload after it has ended."""
        return self.resumable or self.is_concatenation

    def is_complete_at(self, size: int) -> bool:
        """Whether an upload with this many bytes is complete without a finish message."""
        return self.ends_at_size and size == self.size

    def is_repeated_by(self, other: Plan) -> bool:
        """Whether two requests with the same id ask for the same upload.

        A size that was unknown in the request may be known by now. The upload of a guest may
        belong to an account by now; then only the account may use it.
        """
        is_same = (self.kind, self.token_id, self.sha256) == (
            other.kind,
            other.token_id,
            other.sha256,
        )
        is_shared = not self.owner_id or is_guest(self.owner_id)
        is_usable = is_shared or self.owner_id == other.owner_id
        return is_same and is_usable and other.size in (None, self.size)


@dataclass(frozen=True)
class Upload:
    """An upload as its client sees it.

    job_id: None unless the upload becomes a recording.
    committed_size: durable bytes; never decreases.
    failure_reason: one of the error reasons; empty unless the upload failed.
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
    """An S3 object with bytes after the last part. size: bytes; crc: their CRC-32."""

    key: str
    size: int
    crc: int


@dataclass(frozen=True)
class Progress:
    """What is durable of an upload.

    size: bytes. hash_state: of the SHA-256 of these bytes; None before the first.
    content_type: sniffed from the first bytes, once there are enough.
    parts: of the multipart upload. tail: the objects with the bytes after the last part.
    """

    size: int = 0
    hash_state: bytes | None = None
    content_type: str | None = None
    parts: tuple[UploadedPart, ...] = ()
    tail: tuple[TailObject, ...] = ()


@dataclass(frozen=True)
class UploadRecord:
    """An upload as the code that works on it sees it.

    is_expired: whether it had expired when it was read, by PostgreSQL's clock.
    writer: the session that may write. writers: how many sessions there have been.
    object_key: of the S3 object that the upload becomes. s3_upload_id: of its multipart
    upload, if there is one. part_bytes: size of each part except the last.
    token_revision: of the token when the upload was created.
    lifetime: after this time without a heartbeat the upload expires.
    """

    upload: Upload
    is_expired: bool
    writer: UUID
    object_key: str
    part_bytes: int
    token_revision: int
    lifetime: timedelta
    writers: int = 0
    s3_upload_id: str | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def plan(self) -> Plan:
        """What the client wants to upload."""
        return self.upload.plan

    @property
    def job_id(self) -> UUID:
        """The job of a recording. Errors: RuntimeError for other uploads."""
        if self.upload.job_id is None:
            raise RuntimeError(f"upload {self.upload.upload_id} has no job")
        return self.upload.job_id

    @property
    def declared_size(self) -> int | None:
        """Bytes of the file, if the client has declared or finished them."""
        if self.upload.state is State.STORED:
            return self.progress.size
        return self.plan.size

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are durable, so that the upload can be handed over."""
        if self.upload.state is State.RECEIVING:
            return self.plan.is_complete_at(self.progress.size)
        return self.upload.state is State.STORED

    @property
    def had_one_writer(self) -> bool:
        """Whether S3 has only what the store knows: no session was interrupted by another."""
        return self.writers <= 1

    @property
    def tail_prefix(self) -> str:
        """The prefix of the keys of its tail objects."""
        return f"tails/{self.upload.upload_id}/"


@dataclass(frozen=True)
class StoredObject:
    """A complete and durable file. size: bytes; sha256: 32 bytes."""

    object_key: str
    size: int
    content_type: str
    sha256: bytes


def recording_key(token_id: int, job_id: UUID) -> str:
    """The S3 key of a recording: made of ids alone, never of anything a client sends.

    The hour (UTC) in which the job's id was generated comes first, so that recordings
    without a job can be found by listing one hour.
    """
    generated = datetime.fromtimestamp(unix_seconds_of(job_id), UTC)
    return f"{recordings_prefix(generated)}{token_id}/{job_id}"


def recordings_prefix(hour: datetime) -> str:
    """The prefix of the keys of all recordings whose jobs' ids were generated in an hour (UTC)."""
    return f"recordings/{hour:%Y-%m-%dT%H}/"


def new_picture_key(account_id: str) -> str:
    """A new S3 key for a picture of an account: a URL of the former picture never shows it."""
    return f"pictures/{account_id}/{uuid4()}"


def new_record(
    plan: Plan,
    lifetime: timedelta,
    *,
    upload_id: UUID,
    object_key: str,
    part_bytes: int,
    token_revision: int,
    job_id: UUID,
) -> UploadRecord:
    """The record of an upload that has no row yet; the arguments are those of its row."""
    now = datetime.now(UTC)
    upload = Upload(upload_id, plan, State.RECEIVING, job_id, 0, now + lifetime, now)
    return UploadRecord(
        upload=upload,
        is_expired=False,
        writer=upload_id,
        object_key=object_key,
        part_bytes=part_bytes,
        token_revision=token_revision,
        lifetime=lifetime,
    )


def part_bytes_for(size: int) -> int:
    """The part size for an upload of `size` bytes: whole MiB, as small as S3 accepts.

    Up to 43.9 GiB that is 5 MiB; 5 TiB, the maximum size of an S3 object, needs 583 MiB.
    """
    needed = -(-size // MAX_PARTS)
    return max(MIN_PART_BYTES, -(-needed // _MIB) * _MIB)


def require_offset(upload: Upload, offset: int, exactly: bool) -> None:
    """Refuse to write elsewhere. Errors: UploadOffsetAhead, UploadOffsetBehind (exactly)."""
    committed = upload.committed_size
    if offset > committed:
        raise UploadOffsetAhead(offset=offset, committed_size=committed)
    if exactly and offset < committed:
        raise UploadOffsetBehind(offset=offset, committed_size=committed)


def require_concatenable(upload: Upload) -> None:
    """Refuse to concatenate anything but complete partial uploads.

    Errors: InvalidField, UploadIncomplete, UploadEnded.
    """
    if upload.plan.kind is not Kind.PARTIAL:
        problem = f"upload {upload.upload_id} is not a partial upload"
        raise InvalidField(FieldViolation("upload_concat", problem))
    if upload.state in OPEN:
        raise UploadIncomplete(upload_id=upload.upload_id)
    if upload.state is not State.COMPLETED:
        raise ended_error(upload)


def ended_error(upload: Upload) -> UploadEnded:
    """The error for a write to an upload that accepts no more bytes."""
    # An open upload that refuses a writer has expired, and the reaper has yet to see it.
    state = State.EXPIRED if upload.state in OPEN else upload.state
    return UploadEnded.of(upload.upload_id, state, upload.failure_reason)
