"""The audio formats that Sori accepts: one list for the upload service and the analyzer. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MIN_SAMPLE_RATE = 4_000
"""The lowest accepted sample rate, in Hz."""

MAX_SAMPLE_RATE = 384_000
"""The highest accepted sample rate, in Hz."""

MAX_CHANNELS = 64
"""The largest accepted number of channels."""


@dataclass(frozen=True)
class AudioFormat:
    """A file format.

    name: as learners know it. content_type: the media type. demuxer: the name of FFmpeg's
    demuxer.
    """

    name: str
    content_type: str
    demuxer: str


WAV = AudioFormat("WAV", "audio/wav", "wav")
W64 = AudioFormat("W64", "audio/x-w64", "w64")
AIFF = AudioFormat("AIFF", "audio/aiff", "aiff")
CAF = AudioFormat("CAF", "audio/x-caf", "caf")
FLAC = AudioFormat("FLAC", "audio/flac", "flac")
MP3 = AudioFormat("MP3", "audio/mpeg", "mp3")
AAC = AudioFormat("AAC", "audio/aac", "aac")
OGG = AudioFormat("Ogg", "audio/ogg", "ogg")
WEBM = AudioFormat("WebM", "audio/webm", "matroska")
MATROSKA = AudioFormat("Matroska", "audio/matroska", "matroska")
MP4 = AudioFormat("MP4/M4A", "audio/mp4", "mov")
QUICKTIME = AudioFormat("MOV", "video/quicktime", "mov")
THREE_GPP = AudioFormat("3GP", "audio/3gpp", "mov")
THREE_GPP2 = AudioFormat("3G2", "audio/3gpp2", "mov")
AMR = AudioFormat("AMR", "audio/amr", "amr")

FORMATS = (
    WAV,
    FLAC,
    MP3,
    OGG,
    WEBM,
    MP4,
    AAC,
    AMR,
    THREE_GPP,
    THREE_GPP2,
    QUICKTIME,
    MATROSKA,
    AIFF,
    CAF,
    W64,
)

SUPPORTED = ", ".join(each.name for each in FORMATS)
"""The names of all formats, for error texts."""

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
"""The identifier with which a W64 file starts."""

_MAGIC = (
    (re.compile(rb"(RIFF|RIFX|RF64|BW64)....WAVE", re.DOTALL), WAV),
    (re.compile(re.escape(W64_RIFF)), W64),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), AIFF),
    (re.compile(rb"caff\x00"), CAF),
    (re.compile(rb"fLaC"), FLAC),
    (re.compile(rb"OggS\x00"), OGG),
    (re.compile(rb"#!AMR(-WB)?\n"), AMR),
    (re.compile(rb"\x1a\x45\xdf\xa3.{0,64}?\x42\x82.webm", re.DOTALL), WEBM),
    (re.compile(rb"\x1a\x45\xdf\xa3.{0,64}?\x42\x82.matroska", re.DOTALL), MATROSKA),
    (re.compile(rb"....ftypqt  ", re.DOTALL), QUICKTIME),
    (re.compile(rb"....ftyp3g2", re.DOTALL), THREE_GPP2),
    (re.compile(rb"....ftyp3g", re.DOTALL), THREE_GPP),
    # Pictures have the same structure as MP4, and other brands.
    (re.compile(rb"....ftyp(?!hei|hev|mif1|msf1|avi|crx |j)", re.DOTALL), MP4),
    # Old QuickTime files have no ftyp.
    (re.compile(rb"....(moov|mdat|wide|pnot)", re.DOTALL), QUICKTIME),
    (re.compile(rb"....(free|skip)....(moov|mdat|wide)", re.DOTALL), QUICKTIME),
)

_INSPECTED_BYTES = 4096
_ID3_HEADER_BYTES = 10
_MAX_ID3_TAGS = 16
# Three headers in a row do not occur by chance in other files.
_CHECKED_HEADERS = 3
_HEADER_BYTES = 7

_LAYER_1, _LAYER_2, _LAYER_3 = 3, 2, 1
_MPEG_1, _MPEG_2_5, _RESERVED_VERSION = 3, 0, 1
# kbit/s by (is MPEG 1, layer), from the bit rate index 1 on: ISO 11172-3 and 13818-3.
_BIT_RATES = {
    (True, _LAYER_1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, _LAYER_2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_1_RATES = (44_100, 48_000, 32_000)


def format_of(content: bytes) -> AudioFormat | None:
    """The format of a file that starts with `content`; None if it is not in `FORMATS`.

    4,096 bytes suffice, unless a longer ID3 tag hides what follows: then the file counts as MP3.
    """
    start = _end_of_id3(content)
    audio = content[start : start + _INSPECTED_BYTES]
    for magic, found in _MAGIC:
        if magic.match(audio):
            return found
    frames = audio.lstrip(b"\0")
    if _has_frames(frames, _mpeg_frame_bytes):
        return MP3
    if _has_frames(frames, _adts_frame_bytes):
        return AAC
    return MP3 if start else None


def _end_of_id3(content: bytes) -> int:
    """The number of bytes in the ID3v2 tags at the start; 0 without a tag."""
    end = 0
    for _ in range(_MAX_ID3_TAGS):
        header = content[end : end + _ID3_HEADER_BYTES]
        if len(header) < _ID3_HEADER_BYTES or not header.startswith(b"ID3"):
            break
        size = 0
        for seven_bits in header[6:]:
            size = size << 7 | seven_bits & 0x7F
        end += _ID3_HEADER_BYTES + size
    return end


def _has_frames(audio: bytes, frame_bytes: Callable[[bytes], int | None]) -> bool:
    """Whether the audio starts with frames: every header that it contains, at most three."""
    start = 0
    for _ in range(_CHECKED_HEADERS):
        header = audio[start : start + _HEADER_BYTES]
        if len(header) < _HEADER_BYTES and start:
            return True
        size = frame_bytes(header)
        if size is None:
            return False
        start += size
    return True


def _mpeg_frame_bytes(header: bytes) -> int | None:
    """The size of an MPEG audio frame (layers I to III); None if this is no header."""
    if len(header) < _HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == _RESERVED_VERSION or not layer or rate_index == len(_MPEG_1_RATES):
        return None
    if not 0 < bit_rate_index <= len(_BIT_RATES[True, _LAYER_1]):
        return None
    is_mpeg_1 = version == _MPEG_1
    bit_rate = _BIT_RATES[is_mpeg_1, layer][bit_rate_index - 1] * 1000
    rate = _MPEG_1_RATES[rate_index] // (1 if is_mpeg_1 else 4 if version == _MPEG_2_5 else 2)
    if layer == _LAYER_1:
        return (12 * bit_rate // rate + padding) * 4
    samples_by_8 = 72 if layer == _LAYER_3 and not is_mpeg_1 else 144
    return samples_by_8 * bit_rate // rate + padding


def _adts_frame_bytes(header: bytes) -> int | None:
    """The size of an ADTS frame of AAC; None if this is no header."""
    if len(header) < _HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size >= _HEADER_BYTES else None
