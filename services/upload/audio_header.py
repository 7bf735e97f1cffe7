"""What the header of an audio file states, read from its first bytes. Pure.

The formats that state their duration at the start: WAV, W64, AIFF, CAF, FLAC and MP4. Other formats
must be read to their end, or the duration is estimated from the size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.runtime.audio_formats import (
    AIFF,
    CAF,
    FLAC,
    MP4,
    QUICKTIME,
    THREE_GPP,
    THREE_GPP2,
    W64,
    WAV,
    AudioFormat,
)

# A program that writes WAV to a pipe does not know the size. Each has its own placeholder:
# 0xFFFFFFFF (FFmpeg), 0x7FFFF000 (SoX), 0x7FFFFFFF and 0x80000000 (arecord), some less the header.
_UNKNOWN_SIZE = 0x7FFF_0000
_UNKNOWN_SIZE_64 = 2**62


@dataclass(frozen=True)
class AudioHeader:
    """What a file states of itself; None where it states nothing.

    seconds: the duration. sample_rate: in Hz.
    """

    seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


def read_header(first_bytes: bytes, audio_format: AudioFormat) -> AudioHeader:
    """What a file of a format states in its first bytes. Never fails on damaged files."""
    reader = _READERS.get(audio_format)
    try:
        return reader(first_bytes) if reader else AudioHeader()
    except (struct.error, IndexError, OverflowError, ValueError):
        return AudioHeader()


def _wav(content: bytes) -> AudioHeader:
    order = ">" if content.startswith(b"RIFX") else "<"
    channels = rate = byte_rate = long_size = 0
    for name, size, start in _chunks(content, 12, f"{order}4sI"):
        if name == b"ds64":
            (long_size,) = struct.unpack_from("<8xQ", content, start)
        elif name == b"fmt ":
            channels, rate, byte_rate = struct.unpack_from(f"{order}2xHII", content, start)
        elif name == b"data":
            size = long_size if size == 0xFFFF_FFFF and long_size else size
            is_known = 0 < size < (_UNKNOWN_SIZE_64 if long_size else _UNKNOWN_SIZE)
            return AudioHeader(_ratio(size, byte_rate) if is_known else None, rate, channels)
    return AudioHeader(None, rate or None, channels or None)


def _w64(content: bytes) -> AudioHeader:
    channels = rate = byte_rate = 0
    start = 40
    while start + 24 <= len(content):
        name, size = (
            content[start : start + 4],
            int.from_bytes(content[start + 16 : start + 24], "little"),
        )
        if name == b"fmt ":
            channels, rate, byte_rate = struct.unpack_from("<2xHII", content, start + 24)
        elif name == b"data":
            is_known = 24 < size < _UNKNOWN_SIZE_64
            return AudioHeader(_ratio(size - 24, byte_rate) if is_known else None, rate, channels)
        start += max(24, size + -size % 8)
    return AudioHeader(None, rate or None, channels or None)


def _aiff(content: bytes) -> AudioHeader:
    for name, _, start in _chunks(content, 12, ">4sI"):
        if name == b"COMM":
            channels, frames = struct.unpack_from(">HI", content, start)
            # An 80-bit float: exponent and 64-bit mantissa.
            exponent, mantissa = struct.unpack_from(">HQ", content, start + 8)
            rate = int(mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63))
            is_known = 0 < frames < _UNKNOWN_SIZE
            return AudioHeader(_ratio(frames, rate) if is_known else None, rate, channels)
    return AudioHeader()


def _caf(content: bytes) -> AudioHeader:
    rate, packet_bytes, packet_frames, channels = 0.0, 0, 0, 0
    for name, size, start in _chunks(content, 8, ">4sq", padding=1):
        if name == b"desc":
            rate, packet_bytes, packet_frames, channels = struct.unpack_from(
                ">d8xIII", content, start
            )
        elif name == b"pakt":
            (frames,) = struct.unpack_from(">8xq", content, start)
            return AudioHeader(_ratio(frames, rate), int(rate), channels)
        elif name == b"data" and size > 4 and packet_bytes:
            frames = (size - 4) // packet_bytes * packet_frames
            return AudioHeader(_ratio(frames, rate), int(rate), channels)
    return AudioHeader(None, int(rate) or None, channels or None)


def _flac(content: bytes) -> AudioHeader:
    start = content.find(b"fLaC")
    (fields,) = struct.unpack_from(">Q", content, start + 18)
    rate, channels, samples = fields >> 44, (fields >> 41 & 7) + 1, fields & (1 << 36) - 1
    return AudioHeader(_ratio(samples, rate), rate, channels)


def _mp4(content: bytes) -> AudioHeader:
    start = content.find(b"mvhd")
    if start < 0:
        return AudioHeader()
    if content[start + 4] == 1:
        scale, duration = struct.unpack_from(">24xIQ", content, start)
        unknown = 2**64 - 1
    else:
        scale, duration = struct.unpack_from(">16xII", content, start)
        unknown = 2**32 - 1
    return AudioHeader(_ratio(duration, scale) if duration != unknown else None)


def _chunks(
    content: bytes, start: int, header: str, padding: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a file: name, size, and where the content of the chunk starts."""
    length = struct.calcsize(header)
    while start + length <= len(content):
        name, size = struct.unpack_from(header, content, start)
        yield name, size, start + length
        start += length + max(0, size) + -size % padding


def _ratio(count: float, per_second: float) -> float | None:
    """The duration; None if it is not stated."""
    return count / per_second if count > 0 and per_second > 0 else None


_READERS: dict[AudioFormat, Callable[[bytes], AudioHeader]] = {
    WAV: _wav,
    W64: _w64,
    AIFF: _aiff,
    CAF: _caf,
    FLAC: _flac,
    MP4: _mp4,
    QUICKTIME: _mp4,
    THREE_GPP: _mp4,
    THREE_GPP2: _mp4,
}
