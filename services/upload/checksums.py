"""Checksums of one write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import google_crc32c

from services.upload.chunks import Chunk

Algorithm = Literal["sha1", "sha256", "crc32c"]

DIGEST_BYTES: dict[Algorithm, int] = {"sha1": 20, "sha256": 32, "crc32c": 4}
"""The supported algorithms, and the size of each digest."""


class Hasher(Protocol):
    """A checksum that is being computed."""

    def update(self, content: Chunk, /) -> None:
        """Add the next bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes added."""


class _Crc32c:
    def __init__(self) -> None:
        self._crc = 0

    def update(self, content: Chunk, /) -> None:
        # The library accepts no views.
        self._crc = google_crc32c.extend(self._crc, bytes(content))

    def digest(self) -> bytes:
        return self._crc.to_bytes(4, "big")


@dataclass(frozen=True)
class Checksum:
    """The declared checksum of one write. digest: bytes, big-endian for CRCs."""

    algorithm: Algorithm
    digest: bytes

    def hasher(self) -> Hasher:
        """A new checksum of the same algorithm."""
        if self.algorithm == "crc32c":
            return _Crc32c()
        return hashlib.new(self.algorithm, usedforsecurity=False)
