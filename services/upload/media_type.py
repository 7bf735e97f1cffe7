"""The media type and duration of a file, read from its first bytes. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable

import filetype
from tinytag import TinyTag, TinyTagException

from services.upload.errors import RecordingTooLong, UnsupportedAsset, UnsupportedAudio

SNIFFED_BYTES = 4096
"""How many of the first bytes are needed for the media type."""

HEAD_BYTES = 64 * 1024
"""How many of the first bytes are needed for the duration, in formats that start with it."""

SUPPORTED = "WAV, FLAC, MP3, Ogg, WebM, MP4/M4A, AAC"

_CONTENT_TYPES = {
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/mpeg": "audio/mpeg",
    "audio/ogg": "audio/ogg",
    "video/webm": "audio/webm",
    "audio/mp4": "audio/mp4",
    "video/mp4": "audio/mp4",
    "audio/aac": "audio/aac",
}

# Other formats must be read to their end, or the duration is estimated from the size.
_NAME_WITH_DURATION = {"audio/wav": "a.wav", "audio/flac": "a.flac", "audio/mp4": "a.m4a"}


def audio_type(first_bytes: bytes) -> str:
    """The media type of a recording with these first bytes. Errors: UnsupportedAudio."""
    found = filetype.guess_mime(first_bytes)
    if found not in _CONTENT_TYPES:
        raise UnsupportedAudio(supported=SUPPORTED)
    return _CONTENT_TYPES[found]


def json_type(first_bytes: bytes, kind: str) -> str:
    """The media type of JSON. Errors: UnsupportedAsset when the file does not start as JSON."""
    if first_bytes.lstrip()[:1] not in (b"{", b"["):
        raise UnsupportedAsset(kind=kind)
    return "application/json"


def any_type(_first_bytes: bytes) -> str:
    """The media type of a file that is not inspected."""
    return "application/octet-stream"


def duration_of(first_bytes: bytes, content_type: str) -> float | None:
    """The duration in seconds that a WAV, FLAC or MP4 file states; None for other files."""
    name = _NAME_WITH_DURATION.get(content_type)
    if name is None:
        return None
    try:
        return TinyTag.get(name, file_obj=io.BytesIO(first_bytes), tags=False).duration
    except TinyTagException:
        return None


class Head:
    """Collects the first bytes of a file, and inspects them as soon as there are enough."""

    def __init__(self, type_of: Callable[[bytes], str], limit_seconds: float) -> None:
        self._type_of = type_of
        self._limit_seconds = limit_seconds
        self._first = bytearray()
        self._is_sniffed = False

    def feed(self, content: bytes) -> str | None:
        """Add the next bytes; returns the media type once the head is complete.

        Errors: those of `type_of`, RecordingTooLong.
        """
        self._first += content[: HEAD_BYTES - len(self._first)]
        if not self._is_sniffed and len(self._first) >= SNIFFED_BYTES:
            self._sniff()
        return self.settle() if len(self._first) == HEAD_BYTES else None

    def settle(self) -> str:
        """The media type of a file that is shorter than the head. Errors: as `feed`."""
        content_type = self._sniff()
        first_bytes, self._first = bytes(self._first), bytearray()
        seconds = duration_of(first_bytes, content_type)
        if seconds is not None and seconds > self._limit_seconds:
            raise RecordingTooLong(seconds=round(seconds), limit_seconds=round(self._limit_seconds))
        return content_type

    def _sniff(self) -> str:
        self._is_sniffed = True
        return self._type_of(bytes(self._first[:SNIFFED_BYTES]))
