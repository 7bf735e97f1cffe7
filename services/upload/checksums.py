"""Checksums of one write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import google_crc32c

Algorithm = Literal["sha1", "sha256", "crc32c"]

DIGEST_BYTES: dict[Algorithm, int] = {"sha1": 20, "sha256": 32, "crc32c": 4}
"""The algorithms, and how long a digest is."""


class Hasher(Protocol):
    """A checksum under way."""

    def update(self, content: bytes, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes so far."""


@dataclass(frozen=True)
class Checksum:
    """What the bytes of one write must come to. digest: as bytes, big-endian for CRCs."""

    algorithm: Algorithm
    digest: bytes

    def hasher(self) -> Hasher:
        """One that has seen nothing yet."""
        if self.algorithm == "crc32c":
            checksum: Hasher = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
            return checksum
        return hashlib.new(self.algorithm, usedforsecurity=False)
