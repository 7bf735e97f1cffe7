"""A part of an S3 multipart upload, as S3 confirmed it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadedPart:
    """number: from 1. etag, checksum: what S3 returned, needed to complete the upload."""

    number: int
    etag: str
    checksum: str
