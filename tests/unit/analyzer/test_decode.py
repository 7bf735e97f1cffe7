from __future__ import annotations

import io
import multiprocessing
import resource
import struct
import wave
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.decode import SAMPLE_RATE, decode
from services.analyzer.failures import AnalysisFailure, Reason
from tests.dialects import channels, encoded, opposite_phase
from tests.dialects import wav as wav_of
from tests.unit.analyzer.conftest import ReadAudio

MIB = 1024 * 1024


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
def test_formats_that_browsers_and_phones_record(
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


def test_a_file_without_samples_is_empty() -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(wav([]), 120.0)
    assert failure.value.reason is Reason.EMPTY_AUDIO


def test_a_recording_that_is_too_long_is_refused(read_audio: ReadAudio) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(read_audio("ref_0890.wav"), 5.0)
    assert failure.value.reason is Reason.AUDIO_TOO_LONG


def test_a_playlist_cannot_open_other_files(read_audio: ReadAudio, tmp_path: Path) -> None:
    target = tmp_path / "secret.wav"
    target.write_bytes(read_audio("ref_0890.wav"))
    for playlist in (
        f"ffconcat version 1.0\nfile {target}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n",
    ):
        with pytest.raises(AnalysisFailure):
            decode(playlist.encode(), 120.0)


def flac_of_one_hertz() -> bytes:
    """A valid file of 81 bytes: 65,535 equal samples at 1 Hz, as 18 hours of audio."""
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6)
    info += struct.pack(">Q", 1 << 44 | 15 << 36 | 65_535) + bytes(16)
    header = b"\xff\xf8" + bytes([0b0111_0000, 0b0000_1000, 0]) + struct.pack(">H", 65_534)
    frame = header + bytes([crc(header, 0x07, 8)]) + bytes([0, 0, 0])
    frame += struct.pack(">H", crc(frame, 0x8005, 16))
    return b"fLaC" + b"\x80\x00\x00\x22" + info + frame


def crc(data: bytes, polynomial: int, width: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> width - 1 else 0)
            value &= (1 << width) - 1
    return value


def flac_with_covers(size: int, count: int) -> bytes:
    """A FLAC file with black PNG covers of `size` by `size` pixels."""
    picture = io.BytesIO()
    with av.open(picture, "w", format="image2pipe") as output:
        stream = output.add_stream("png", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt = "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), "rgb24")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    png = picture.getvalue()
    block = struct.pack(">II9sI", 3, 9, b"image/png", 0) + struct.pack(">IIII", size, size, 24, 0)
    block += struct.pack(">I", len(png)) + png
    cover = b"\x06" + len(block).to_bytes(3, "big") + block
    file = encoded("flac", "flac", channels(1), SAMPLE_RATE)
    audio = 4 + 4 + 34
    info = file[:4] + b"\0" + file[5:audio]
    last = b"\x81\x00\x00\x00"
    return info + cover * count + last + file[file.index(b"\xff\xf8", audio) :]


def peak_growth(file: bytes) -> int:
    """By how many bytes decoding raises the largest resident size of this process."""
    decode(wav([5000] * SAMPLE_RATE), 120.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decode(file, 120.0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@contextmanager
def address_space(more_bytes: int) -> Iterator[None]:
    """Limits the memory that this process may map in addition."""
    used = psutil.Process().memory_info().vms
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_tiny_file_of_many_hours_needs_little_memory() -> None:
    with address_space(256 * MIB), pytest.raises(AnalysisFailure) as failure:
        decode(flac_of_one_hertz(), 120.0)
    assert failure.value.reason is Reason.UNDECODABLE_AUDIO
    assert not isinstance(failure.value.__cause__, MemoryError)


def test_pictures_in_a_recording_are_not_decoded() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        growth = process.submit(peak_growth, flac_with_covers(6_000, 4)).result()
    assert growth < 64 * MIB


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 24, 64])
def test_up_to_64_channels_are_decoded(count: int) -> None:
    assert len(decode(wav([5000, -5000] * 50 * count, channels=count), 120.0)) == 100


@pytest.mark.parametrize(("rate", "count"), [(3_999, 1), (384_001, 1), (16_000, 65), (1, 1)])
def test_rates_and_channels_beyond_the_limits_are_undecodable(rate: int, count: int) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        decode(wav([5000, -5000] * 5 * count, rate=rate, channels=count), 120.0)
    assert failure.value.reason is Reason.UNDECODABLE_AUDIO


def test_the_length_is_checked_before_audio_is_resampled() -> None:
    """400 s at 4 kHz, in one packet of 1.6 MB, are 26 MB at 16 kHz."""
    file = encoded("matroska", "pcm_u8", np.zeros((1_600_000, 1), np.int16), 4_000)
    with pytest.raises(AnalysisFailure) as failure:
        decode(file, 120.0)
    assert failure.value.reason is Reason.AUDIO_TOO_LONG


def test_channels_in_opposite_phase_do_not_cancel_each_other() -> None:
    stereo = decode(wav_of(opposite_phase()), 120.0)
    assert np.array_equal(stereo, decode(wav_of(channels(1)), 120.0))


def test_a_voice_on_one_of_eight_channels_keeps_its_level() -> None:
    surround = np.zeros((len(channels(1)), 8), np.int16)
    surround[:, 2] = channels(1)[:, 0]
    samples = decode(wav_of(surround), 120.0)
    assert np.array_equal(samples, decode(wav_of(channels(1)), 120.0))


def test_an_endless_chain_of_ogg_files_is_refused() -> None:
    link = encoded("ogg", "libopus", channels(1)[:160], SAMPLE_RATE)
    with pytest.raises(AnalysisFailure) as failure:
        decode(link * 101, 120.0)
    assert failure.value.reason is Reason.UNDECODABLE_AUDIO


def test_stereo_is_averaged_and_resampled() -> None:
    samples = decode(wav([8000, 0] * 44_100, rate=44_100, channels=2), 120.0)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=20)
    assert samples[4000:12000].mean() == pytest.approx(4000 / 32768, rel=0.01)


@given(st.binary(max_size=4000), st.sampled_from([b"", b"RIFF", b"OggS", b"fLaC", b"\xff\xfb\x90"]))
def test_arbitrary_bytes_raise_only_analysis_failures(data: bytes, magic: bytes) -> None:
    with suppress(AnalysisFailure):
        decode(magic + data, 1.0)


@given(st.binary(min_size=400, max_size=4000), st.sampled_from([1, 3]), st.integers(1, 2))
def test_arbitrary_samples_are_finite(data: bytes, sample_format: int, channels: int) -> None:
    """WAV files of integers (format 1) and floats (format 3), which may be NaN or infinite."""
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
def test_a_damaged_recording_raises_only_analysis_failures(
    read_audio: ReadAudio, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["take_0890_close.webm", "take_0930_fast.ogg"]))
    recording = read_audio(name)
    damaged = bytearray(recording[: data.draw(st.integers(0, len(recording)))])
    for _ in range(data.draw(st.integers(0, 8)) if damaged else 0):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        samples = decode(bytes(damaged), 120.0)
    except AnalysisFailure:
        return
    assert np.isfinite(samples).all()
