"""What a file is, told from its first bytes. Pure."""

from __future__ import annotations

import filetype

from services.runtime.errors import UnsupportedAsset, UnsupportedAudio

SNIFFED_BYTES = 4096
"""How many first bytes decide."""

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


def audio_type(first_bytes: bytes) -> str:
    """The media type of a recording that begins so. Errors: UnsupportedAudio."""
    found = filetype.guess_mime(first_bytes)
    if found not in _CONTENT_TYPES:
        raise UnsupportedAudio(supported=SUPPORTED)
    return _CONTENT_TYPES[found]


def json_type(first_bytes: bytes, kind: str) -> str:
    """The media type of JSON. Errors: UnsupportedAsset when it begins otherwise."""
    if first_bytes.lstrip()[:1] not in (b"{", b"["):
        raise UnsupportedAsset(kind=kind)
    return "application/json"
