"""Uploads that survive: each goes on where it stopped, at any replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from services.upload.stream import Whole
from services.upload.uploads import Plan, Upload


@dataclass(frozen=True)
class Checksum:
    """What the bytes of one write must come to. digest: as bytes, big-endian for CRCs."""

    algorithm: Literal["sha1", "sha256", "crc32c"]
    digest: bytes


class Uploads:
    """The uploads of the product."""

    limit_bytes: int
    """Largest recording that is taken."""

    async def create(self, plan: Plan) -> Upload:
        """Begin an upload, or find the one that this request has begun before.

        Errors: TokenNotFound, RecordingTooLarge, EmptyRecording, RequestIdReused, those
        of the peers, DatabaseUnavailable.
        """
        raise NotImplementedError

    async def get(self, upload_id: UUID) -> Upload:
        """An upload, wherever it stands. Errors: UploadNotFound, DatabaseUnavailable."""
        raise NotImplementedError

    async def write(
        self,
        upload_id: UUID,
        offset: int,
        items: AsyncIterator[bytes | Whole],
        *,
        exactly: bool = False,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """Take bytes of an upload; what was received stays, however they end.

        offset: where the first byte belongs.
        items: `Whole` last to end the upload; without it, it stays open, except one that
            ends at its size when that is reached.
        exactly: bytes before the committed size are refused, not skipped over.
        size: the whole's size, where it was not known before.
        checksum: of these bytes; when it differs none of them stays.
        Errors: UploadNotFound, UploadEnded, UploadOffsetAhead, UploadOffsetBehind (exactly),
        UploadSuperseded, UploadIdle, ChunkChecksumMismatch, SizeMismatch,
        RecordingTooLarge, those about the recording, StorageUnavailable.
        """
        raise NotImplementedError

    async def cancel(self, upload_id: UUID) -> Upload:
        """End an upload and its job. Errors: UploadNotFound, UploadEnded."""
        raise NotImplementedError

    async def concatenate(self, plan: Plan, pieces: Sequence[UUID]) -> Upload:
        """Make one recording of uploads of kind PIECE, in this order.

        Errors: those of `create`; UploadNotFound, UploadEnded, UploadIncomplete when a piece
        is not whole; those about the recording.
        """
        raise NotImplementedError
