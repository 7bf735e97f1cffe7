"""What has arrived of an upload: its size, its SHA-256 and its media type. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.upload.chunks import Chunk
from services.upload.errors import (
    ChecksumMismatch,
    EmptyPicture,
    EmptyRecording,
    PictureTooLarge,
    RecordingTooLarge,
    SizeMismatch,
)
from services.upload.media_type import Head, any_type, audio_type, json_type, picture_type
from services.upload.models import AssetKind, Kind, Plan, Progress, UploadRecord
from services.upload.sha256 import Sha256
from services.upload.stream import Finish


@dataclass(frozen=True)
class Limits:
    """The largest files, in bytes, and the longest recording, in seconds."""

    recording_bytes: int
    asset_bytes: int
    picture_bytes: int
    recording_seconds: float

    def bytes_of(self, kind: Kind) -> int:
        """The largest file of a kind."""
        if kind is Kind.ASSET:
            return self.asset_bytes
        return self.picture_bytes if kind is Kind.PICTURE else self.recording_bytes

    def require_size(self, kind: Kind, size: int) -> None:
        """Refuse a file of this kind that is empty or too large.

        Errors: EmptyPicture and PictureTooLarge, or EmptyRecording and RecordingTooLarge.
        """
        if not size:
            raise EmptyPicture if kind is Kind.PICTURE else EmptyRecording
        limit_bytes = self.bytes_of(kind)
        if size > limit_bytes:
            too_large = PictureTooLarge if kind is Kind.PICTURE else RecordingTooLarge
            raise too_large(limit_bytes=limit_bytes)


class ReceivedBytes:
    """Counts, hashes and checks the bytes of one upload, over all its connections."""

    def __init__(self, record: UploadRecord, limits: Limits) -> None:
        """Continue where the durable bytes end."""
        self._declared_size = record.declared_size
        self._declared_sha256 = record.plan.sha256
        self._head = Head(_media_type_of(record.plan), limits.recording_seconds)
        self._kind = record.plan.kind
        self._limits = limits
        self._sha256 = Sha256(record.progress.hash_state)
        self.size = record.progress.size
        self.content_type = record.progress.content_type

    def require_room(self, size: int) -> None:
        """Refuse bytes beyond a limit. Errors: SizeMismatch, those of `Limits.require_size`."""
        total = self.size + size
        if self._declared_size is not None and total > self._declared_size:
            raise SizeMismatch(received_bytes=total, declared_bytes=self._declared_size)
        self._limits.require_size(self._kind, total)

    def inspect(self, content: Chunk | bytearray) -> None:
        """Sniff the media type, until it is known. Errors: those of `Head.feed`."""
        if self.content_type is None:
            self.content_type = self._head.feed(content)

    def add(self, content: Chunk) -> None:
        """Count and hash the next bytes."""
        self._sha256.update(content)
        self.size += len(content)

    def progress(self) -> Progress:
        """What has arrived, as the progress that the next checkpoint extends."""
        return Progress(
            size=self.size, hash_state=self._sha256.state, content_type=self.content_type
        )

    def verify(self, finish: Finish) -> tuple[str, bytes]:
        """Check the complete file against all that was declared.

        Returns its media type and its SHA-256.

        Errors: EmptyRecording, EmptyPicture, SizeMismatch, ChecksumMismatch, those of
        `Head.settle`.
        """
        self._limits.require_size(self._kind, self.size)
        for size in (finish.size, self._declared_size):
            if size is not None and size != self.size:
                raise SizeMismatch(received_bytes=self.size, declared_bytes=size)
        digest = self._sha256.digest()
        for sha256 in (finish.sha256, self._declared_sha256):
            if sha256 is not None and sha256 != digest:
                raise ChecksumMismatch(received_sha256=digest.hex())
        if self.content_type is None:
            self.content_type = self._head.settle()
        return self.content_type, digest


def _media_type_of(plan: Plan) -> Callable[[bytes], str]:
    if plan.kind is Kind.PARTIAL:
        return any_type
    if plan.kind is Kind.PICTURE:
        return picture_type
    if plan.asset_kind in (AssetKind.PITCH, AssetKind.ALIGNMENT):
        return partial(json_type, kind=plan.asset_kind)
    return audio_type
