"""The media type of a recording depends on its first bytes, never on its name."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.errors import UnsupportedAudio, UnsupportedPicture
from services.upload.media_type import SNIFFED_BYTES, Head, audio_type, header_of, picture_type
from tests.dialects import DIALECTS

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


@pytest.mark.parametrize(
    ("first_bytes", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_pictures_are_recognised(first_bytes: bytes, content_type: str) -> None:
    assert picture_type(first_bytes + bytes(64)) == content_type


@pytest.mark.parametrize(
    "first_bytes",
    [b"", b"\x89PNG", b"RIFF\x10\0\0\0WAVE", b"GIF89a", b"<svg/>", b" \x89PNG\r\n\x1a\n"],
)
def test_other_files_are_no_pictures(first_bytes: bytes) -> None:
    with pytest.raises(UnsupportedPicture):
        picture_type(first_bytes)


def test_raw_aac_is_recognised() -> None:
    assert audio_type(b"\xff\xf1\x60\x40\x1f\xff\xfc" + bytes(64)) == "audio/aac"


@pytest.mark.parametrize(
    ("rate", "count"), [(3_999, 1), (384_001, 1), (16_000, 65), (1, 1), (16_000, 0)]
)
def test_a_header_with_an_unusable_rate_or_channel_count_is_refused(rate: int, count: int) -> None:
    described = struct.pack("<HHIIHH", 1, count, rate, 2 * rate * count, 2 * count, 16)
    file = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + described
    head = Head(audio_type, 60.0)
    assert head.feed(file + b"data\xff\xff\xff\xff") is None
    with pytest.raises(UnsupportedAudio, match="4 to 384 kHz, 1 to 64 channels"):
        head.settle()


@given(
    st.sampled_from([build()[:200] for build in DIALECTS.values()]),
    st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=20),
    st.integers(0, 200),
)
def test_a_damaged_header_never_fails(
    first_bytes: bytes, damages: list[tuple[int, int]], length: int
) -> None:
    damaged = bytearray(first_bytes)
    for position, value in damages:
        damaged[position % len(damaged)] = value
    header_of(bytes(damaged[:length]))


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
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", id="heic"),
        pytest.param(b"\xff\xfb\x90\x64" + bytes(2000), id="one MP3 header"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param((AUDIO / "notaudio.wav").read_bytes(), id="notaudio.wav"),
    ],
)
def test_other_files_are_refused(first_bytes: bytes) -> None:
    with pytest.raises(UnsupportedAudio):
        audio_type(first_bytes)
