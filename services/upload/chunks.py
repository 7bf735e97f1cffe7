"""Consecutive bytes of a file, kept as they arrived. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zlib_ng.zlib_ng import crc32

Chunk = bytes | memoryview
"""Bytes of a file; a view keeps the whole message that it belongs to in memory."""

COPIED_BYTES = 64 * 1024
"""Smaller chunks are copied: as an object, each byte would need a hundred."""

_RUN_BYTES = 1024**2
"""How many bytes of small chunks are collected in one piece of memory."""


class Chunks:
    """Bytes that grow at the end. Large chunks are kept without a copy."""

    def __init__(self) -> None:
        self._chunks: list[Chunk | bytearray] = []
        self._run: bytearray | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Chunk | bytearray]:
        return iter(self._chunks)

    @property
    def pieces(self) -> Sequence[Chunk | bytearray]:
        """The bytes, without a copy: each piece follows the one before it."""
        return tuple(self._chunks)

    def append(self, content: Chunk | bytearray) -> None:
        """Add bytes, which must not change any more."""
        self._size += len(content)
        if len(content) >= COPIED_BYTES:
            self._chunks.append(content)
            self._run = None
            return
        if self._run is None or len(self._run) >= _RUN_BYTES:
            self._run = bytearray()
            self._chunks.append(self._run)
        self._run += content

    def extend(self, others: Chunks) -> None:
        """Add all bytes of another object."""
        for each in others:
            self.append(each)

    def crc32(self) -> int:
        """The CRC-32 of all bytes."""
        crc = 0
        for chunk in self._chunks:
            crc = crc32(chunk, crc)
        return crc
