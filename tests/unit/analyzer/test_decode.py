from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.decode import SAMPLE_RATE, decode
from services.analyzer.failures import AnalysisFailure, Reason
from tests.unit.analyzer.conftest import ReadAudio


def wav(samples: list[int], rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("ref_0890.wav", 5.3),
        ("take_0890_close.webm", 5.64),
        ("take_0890_close_48k_stereo.flac", 5.64),
        ("take_0890_othervoice.m4a", 5.2),
        ("take_0890_wrongline.mp3", 3.38),
        ("take_0930_fast.ogg", 2.86),
    ],
)
def test_whatever_browsers_and_phones_record(
    read_audio: ReadAudio, name: str, seconds: float
) -> None:
    samples = decode(read_audio(name), 120.0)
    assert samples.dtype == np.float32
    assert len(samples) / SAMPLE_RATE == pytest.approx(seconds, abs=0.1)
    assert 0.1 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("name", ["header_only.wav", "notaudio.wav", "truncated.m4a"])
def test_broken_files_are_undecodable(read_audio: ReadAudio, name: str) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(read_audio(name), 120.0)
    assert failure.value.reason is Reason.UNDECODABLE_AUDIO


def test_no_samples_are_empty_audio() -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(wav([]), 120.0)
    assert failure.value.reason in {Reason.EMPTY_AUDIO, Reason.UNDECODABLE_AUDIO}


def test_longer_than_allowed(read_audio: ReadAudio) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(read_audio("ref_0890.wav"), 5.0)
    assert failure.value.reason is Reason.AUDIO_TOO_LONG


def test_a_playlist_opens_no_other_file(read_audio: ReadAudio, tmp_path: Path) -> None:
    target = tmp_path / "secret.wav"
    target.write_bytes(read_audio("ref_0890.wav"))
    for playlist in (
        f"ffconcat version 1.0\nfile {target}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n",
    ):
        with pytest.raises(AnalysisFailure):
            decode(playlist.encode(), 120.0)


def test_stereo_is_mixed_and_resampled() -> None:
    samples = decode(wav([8000, 0] * 44_100, rate=44_100, channels=2), 120.0)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=20)
    assert samples[4000:12000].mean() == pytest.approx(4000 / 32768, rel=0.01)


@given(st.binary(max_size=4000), st.sampled_from([b"", b"RIFF", b"OggS", b"fLaC", b"\xff\xfb\x90"]))
def test_arbitrary_bytes_fail_only_in_known_ways(data: bytes, magic: bytes) -> None:
    with suppress(AnalysisFailure):
        decode(magic + data, 1.0)


@given(st.binary(min_size=400, max_size=4000), st.sampled_from([1, 3]), st.integers(1, 2))
def test_arbitrary_samples_are_finite(data: bytes, sample_format: int, channels: int) -> None:
    """WAV files of integers (1) and of floats (3), of which any may be NaN or infinite."""
    size = 2 if sample_format == 1 else 4
    rate = SAMPLE_RATE * channels * size
    described = struct.pack(
        "<HHIIHH", sample_format, channels, SAMPLE_RATE, rate, channels * size, 8 * size
    )
    riff = b"WAVEfmt " + struct.pack("<I", 16) + described + b"data"
    riff += struct.pack("<I", len(data)) + data
    samples = decode(b"RIFF" + struct.pack("<I", len(riff)) + riff, 1.0)
    assert len(samples) > 0
    assert np.isfinite(samples).all()


@given(st.data())
def test_a_damaged_recording_fails_only_in_known_ways(
    read_audio: ReadAudio, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["take_0890_close.webm", "take_0930_fast.ogg"]))
    whole = read_audio(name)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8)) if damaged else 0):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        samples = decode(bytes(damaged), 120.0)
    except AnalysisFailure:
        return
    assert np.isfinite(samples).all()
