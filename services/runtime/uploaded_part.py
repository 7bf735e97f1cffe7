"""A part of an S3 multipart upload, as S3 confirmed it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadedPart:
    """number: from 1. etag, checksum: prove to S3 at completion that the part is unchanged."""

    number: int
    etag: str
    checksum: str
