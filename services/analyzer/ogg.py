"""Chained Ogg files: several recordings in a row, which FFmpeg reads only if all are alike."""

from __future__ import annotations

from collections.abc import Iterator

_PAGE_HEADER_BYTES = 27
_FLAGS_BYTE = 5
_FIRST_PAGE = 2


def links(content: bytes) -> list[bytes]:
    """The recordings in an Ogg file, each a complete file; a damaged rest belongs to the last.

    A recording starts with the first page of each of its streams.
    """
    starts = []
    was_first = False
    for start, is_first in _pages(content):
        if is_first and not was_first:
            starts.append(start)
        was_first = is_first
    ends = [*starts[1:], len(content)]
    return [content[start:end] for start, end in zip(starts, ends, strict=True)] or [content]


def _pages(content: bytes) -> Iterator[tuple[int, bool]]:
    """The start of each page, and whether the page is the first of a stream (RFC 3533)."""
    start = 0
    while content.startswith(b"OggS", start) and start + _PAGE_HEADER_BYTES <= len(content):
        yield start, bool(content[start + _FLAGS_BYTE] & _FIRST_PAGE)
        body = start + _PAGE_HEADER_BYTES
        segments = content[body - 1]
        start = body + segments + sum(content[body : body + segments])
