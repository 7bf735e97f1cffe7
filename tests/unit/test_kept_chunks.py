"""Bytes of a file that wait for S3 are kept in order, in few pieces and without copies."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from services.upload.chunks import COPIED_BYTES, Chunk, Chunks


def kept(*contents: Chunk) -> Chunks:
    chunks = Chunks()
    for content in contents:
        chunks.append(content)
    return chunks


@given(st.lists(st.binary(max_size=9) | st.integers(1, 9).map(lambda n: bytes([n]) * 70_000)))
def test_bytes_are_kept_in_order(contents: list[bytes]) -> None:
    expected = b"".join(contents)
    chunks = kept(*contents)
    assert b"".join(chunks.pieces) == expected
    assert len(chunks) == len(expected)
    assert chunks.crc32() == zlib.crc32(expected)


@given(st.lists(st.binary(min_size=1, max_size=9)), st.lists(st.binary(min_size=1, max_size=9)))
def test_the_bytes_of_another_object_are_added_at_the_end(
    first: list[bytes], others: list[bytes]
) -> None:
    chunks = kept(*first)
    chunks.extend(kept(*others))
    assert b"".join(chunks.pieces) == b"".join(first + others)


def test_large_chunks_are_not_copied() -> None:
    content = bytes(COPIED_BYTES)
    view = memoryview(bytes(2 * COPIED_BYTES))[COPIED_BYTES:]
    first, second = kept(content, view).pieces
    assert first is content
    assert second is view


def test_many_small_chunks_are_few_pieces() -> None:
    assert len(kept(*[b"x"] * 10_000).pieces) == 1


def test_a_small_chunk_does_not_keep_its_message() -> None:
    chunks = Chunks()
    message = memoryview(bytearray(1024))
    chunks.append(message[:10])
    # A bytearray that views use cannot be resized.
    message.release()
    assert len(chunks) == 10
