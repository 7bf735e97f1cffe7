"""The media type of a recording depends on its first bytes, never on its name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from services.upload.errors import UnsupportedAudio
from services.upload.media_type import SNIFFED_BYTES, audio_type

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.mark.parametrize(
    ("file_name", "content_type"),
    [
        ("ref_0890.wav", "audio/wav"),
        ("take_0890_close.webm", "audio/webm"),
        ("take_0890_close_48k_stereo.flac", "audio/flac"),
        ("take_0890_othervoice.m4a", "audio/mp4"),
        ("take_0890_wrongline.mp3", "audio/mpeg"),
        ("take_0930_fast.ogg", "audio/ogg"),
    ],
)
def test_audio_formats_are_recognised(file_name: str, content_type: str) -> None:
    first_bytes = (AUDIO / file_name).read_bytes()[:SNIFFED_BYTES]
    assert audio_type(first_bytes) == content_type


def test_raw_aac_is_recognised() -> None:
    assert audio_type(b"\xff\xf1\x60\x40\x1f\xff\xfc" + bytes(64)) == "audio/aac"


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("take.wav", "RIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "first_bytes",
    [
        pytest.param(b"%PDF-1.7\n", id="pdf"),
        pytest.param(zip_file(), id="zip"),
        pytest.param(b"<html></html>", id="html"),
        pytest.param(b"RIFF\0\0\0\0AVI LIST", id="avi"),
        pytest.param((AUDIO / "notaudio.wav").read_bytes(), id="notaudio.wav"),
    ],
)
def test_other_files_are_refused(first_bytes: bytes) -> None:
    with pytest.raises(UnsupportedAudio):
        audio_type(first_bytes)
