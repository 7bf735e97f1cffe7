"""The media type of a file and what its header states, read from its first bytes. Pure."""

from __future__ import annotations

from collections.abc import Callable

from services.runtime.audio_formats import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    SUPPORTED,
    format_of,
)
from services.upload.audio_header import AudioHeader, read_header
from services.upload.chunks import Chunk
from services.upload.errors import (
    RecordingTooLong,
    UnsupportedAsset,
    UnsupportedAudio,
    UnsupportedPicture,
)

SNIFFED_BYTES = 4096
"""How many of the first bytes are needed for the media type."""

HEAD_BYTES = 64 * 1024
"""How many of the first bytes are needed for the header, in formats that start with it."""

_BOUNDS = f"{SUPPORTED} (4 to 384 kHz, 1 to {MAX_CHANNELS} channels)"


def audio_type(first_bytes: bytes) -> str:
    """The media type of a recording with these first bytes. Errors: UnsupportedAudio."""
    found = format_of(first_bytes)
    if found is None:
        raise UnsupportedAudio(supported=SUPPORTED)
    return found.content_type


def json_type(first_bytes: bytes, kind: str) -> str:
    """The media type of JSON. Errors: UnsupportedAsset when the file does not start as JSON."""
    if first_bytes.lstrip()[:1] not in (b"{", b"["):
        raise UnsupportedAsset(kind=kind)
    return "application/json"


def picture_type(first_bytes: bytes) -> str:
    """The media type of a picture. Errors: UnsupportedPicture."""
    if first_bytes.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first_bytes.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"WEBP":
        return "image/webp"
    raise UnsupportedPicture


def any_type(_first_bytes: bytes) -> str:
    """The media type of a file that is not inspected."""
    return "application/octet-stream"


def header_of(first_bytes: bytes) -> AudioHeader:
    """What the first bytes of an audio file state; nothing for other files."""
    found = format_of(first_bytes)
    return read_header(first_bytes, found) if found else AudioHeader()


class Head:
    """Collects the first bytes of a file, and inspects them as soon as there are enough."""

    def __init__(self, type_of: Callable[[bytes], str], limit_seconds: float) -> None:
        self._type_of = type_of
        self._limit_seconds = limit_seconds
        self._first = bytearray()
        self._is_sniffed = False

    def feed(self, content: Chunk | bytearray) -> str | None:
        """Add the next bytes; returns the media type once the head is complete.

        Errors: those of `type_of`, RecordingTooLong, UnsupportedAudio.
        """
        self._first += content[: HEAD_BYTES - len(self._first)]
        if not self._is_sniffed and len(self._first) >= SNIFFED_BYTES:
            self._sniff()
        return self.settle() if len(self._first) == HEAD_BYTES else None

    def settle(self) -> str:
        """The media type of a file that is shorter than the head. Errors: as `feed`."""
        content_type = self._sniff()
        first_bytes, self._first = bytes(self._first), bytearray()
        if self._type_of is audio_type:
            self._check(header_of(first_bytes))
        return content_type

    def _sniff(self) -> str:
        self._is_sniffed = True
        return self._type_of(bytes(self._first[:SNIFFED_BYTES]))

    def _check(self, header: AudioHeader) -> None:
        seconds, limit_seconds = header.seconds, self._limit_seconds
        if seconds is not None and seconds > limit_seconds:
            raise RecordingTooLong(seconds=round(seconds), limit_seconds=round(limit_seconds))
        rate, channels = header.sample_rate, header.channels
        if rate is not None and not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            raise UnsupportedAudio(supported=_BOUNDS)
        if channels is not None and not 1 <= channels <= MAX_CHANNELS:
            raise UnsupportedAudio(supported=_BOUNDS)
