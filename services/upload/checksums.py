"""Checksums of one write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import google_crc32c

Algorithm = Literal["sha1", "sha256", "crc32c"]

DIGEST_BYTES: dict[Algorithm, int] = {"sha1": 20, "sha256": 32, "crc32c": 4}
"""The supported algorithms, and the size of each digest."""


class Hasher(Protocol):
    """A checksum that is being computed."""

    def update(self, content: bytes, /) -> None:
        """Add the next bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes added."""


@dataclass(frozen=True)
class Checksum:
    """The declared checksum of one write. digest: bytes, big-endian for CRCs."""

    algorithm: Algorithm
    digest: bytes

    def hasher(self) -> Hasher:
        """A new checksum of the same algorithm."""
        if self.algorithm == "crc32c":
            checksum: Hasher = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
            return checksum
        return hashlib.new(self.algorithm, usedforsecurity=False)
