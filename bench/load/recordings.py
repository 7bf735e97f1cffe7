"""Recordings to upload: WAV files of random samples, so that no result is reused."""

from __future__ import annotations

import os
import struct

BOUNDARY = "bench-boundary"
_FORM_START = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="take.wav"\r\n'
    "Content-Type: audio/wav\r\n\r\n"
).encode()
_FORM_END = f"\r\n--{BOUNDARY}--\r\n".encode()
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
UNIQUE_BYTES = 16


def wav_head(size: int, sample_rate: int = 16_000) -> bytes:
    """The header of a mono WAV file of this many bytes in total."""
    riff = struct.pack("<4sI4s", b"RIFF", size - 8, b"WAVE")
    layout = (16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return riff + struct.pack("<4sIHHIIHH4sI", b"fmt ", *layout, b"data", size - 44)


def wav(size: int) -> bytes:
    """A WAV file of this many bytes."""
    head = wav_head(size)
    return head + os.urandom(size - len(head))


def form_length(size: int) -> int:
    """The Content-Length of a form with a file of this many bytes."""
    return len(_FORM_START) + size + len(_FORM_END)


def form_start() -> bytes:
    """What precedes the file in a form."""
    return _FORM_START


def form_end() -> bytes:
    """What follows the file in a form."""
    return _FORM_END
