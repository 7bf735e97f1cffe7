"""Audio files in every dialect that browsers, phones and tools write, made of one sentence."""

from __future__ import annotations

import functools
import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

AUDIO = Path(__file__).parent / "audio"
SENTENCE = "0930"
UNKNOWN_SIZES = (0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000)

Pcm = npt.NDArray[np.int16]


@functools.cache
def sentence(rate: int = 16_000) -> Pcm:
    """The samples of the sentence at a sample rate, mono."""
    with wave.open(str(AUDIO / f"ref_{SENTENCE}.wav")) as reader:
        samples = np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2")
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
    frame.sample_rate = 16_000
    resampler = av.AudioResampler("s16", "mono", rate)
    if rate == frame.sample_rate:
        return samples
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in parts]).astype(np.int16)


def channels(count: int, rate: int = 16_000) -> Pcm:
    """The sentence on every channel, shape (samples, channels)."""
    return np.repeat(sentence(rate)[:, None], count, axis=1)


def encoded(
    container: str, codec: str, samples: Pcm, rate: int, options: dict[str, str] | None = None
) -> bytes:
    """A file by FFmpeg. samples: shape (samples, channels)."""
    layout = {1: "mono", 2: "stereo", 8: "7.1"}[samples.shape[1]]
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 64_000 * samples.shape[1]
        stream.layout = layout
        stream.format = (stream.codec_context.codec.audio_formats or [av.AudioFormat("s16")])[0]
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), "s16", layout
        )
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return file.getvalue()


def wav(samples: Pcm, rate: int = 16_000) -> bytes:
    """A WAV file with the right sizes. samples: shape (samples, channels)."""
    count = samples.shape[1]
    block = 2 * count
    described = struct.pack("<HHIIHH", 1, count, rate, rate * block, block, 16)
    data = samples.astype("<i2").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 16) + described
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wav_of_unknown_size(size: int) -> bytes:
    """A WAV file as a pipe writes it, with a placeholder for the sizes."""
    content = bytearray(wav(channels(1)))
    struct.pack_into("<I", content, 4, size)
    struct.pack_into("<I", content, 40, size)
    return bytes(content)


def mp4_of_unknown_duration() -> bytes:
    """An MP4 file whose `mvhd` has a duration of all ones, as ISO 14496-12 allows."""
    content = bytearray(encoded("mp4", "aac", channels(1), 16_000))
    struct.pack_into(">I", content, content.index(b"mvhd") + 20, 0xFFFF_FFFF)
    return bytes(content)


def mp3(rate: int) -> bytes:
    """An MP3 file that starts with its first frame: without ID3 and without a Xing frame."""
    options = {"write_xing": "0", "id3v2_version": "0"}
    return encoded("mp3", "libmp3lame", channels(1, rate), rate, options)


def opposite_phase() -> Pcm:
    """The sentence in stereo; the right channel has the opposite sign."""
    opposite: Pcm = (channels(2) * np.array([1, -1])).astype(np.int16)
    return opposite


def _half(samples: Pcm, index: int) -> Pcm:
    middle = len(samples) // 2
    return samples[middle:] if index else samples[:middle]


def changing(container: str, codec: str, first: tuple[int, int], second: tuple[int, int]) -> bytes:
    """Two files in a row, each with half of the sentence. first, second: channels and rate."""
    options = {"write_xing": "0", "id3v2_version": "0"} if container == "mp3" else {}
    return b"".join(
        encoded(container, codec, _half(channels(count, rate), index), rate, options)
        for index, (count, rate) in enumerate((first, second))
    )


Builder = Callable[[], bytes]

DIALECTS: dict[str, Builder] = {
    "WAV": lambda: wav(channels(1)),
    **{
        f"WAV, unknown size 0x{size:08X}": functools.partial(wav_of_unknown_size, size)
        for size in UNKNOWN_SIZES
    },
    "WAV, 24 bit": lambda: encoded("wav", "pcm_s24le", channels(1), 16_000),
    "WAV, 32-bit float": lambda: encoded("wav", "pcm_f32le", channels(1), 16_000),
    "WAV, A-law": lambda: encoded("wav", "pcm_alaw", channels(1, 8_000), 8_000),
    "WAV, 7.1": lambda: encoded("wav", "pcm_s16le", channels(8), 16_000),
    "WAV, 64 channels": lambda: wav(channels(64)),
    "WAV, 384 kHz": lambda: wav(channels(1, 384_000), 384_000),
    "WAV, 4 kHz": lambda: wav(channels(1, 4_000), 4_000),
    "WAV, stereo in opposite phase": lambda: wav(opposite_phase()),
    "RF64": lambda: encoded("wav", "pcm_s16le", channels(1), 16_000, {"rf64": "always"}),
    "W64": lambda: encoded("w64", "pcm_s16le", channels(1), 16_000),
    "W64, 7.1": lambda: encoded("w64", "pcm_s16le", channels(8), 16_000),
    "AIFF": lambda: encoded("aiff", "pcm_s16be", channels(1), 16_000),
    "AIFF, 7.1": lambda: encoded("aiff", "pcm_s16be", channels(8), 16_000),
    "CAF": lambda: encoded("caf", "pcm_s16le", channels(1), 16_000),
    "CAF, ALAC": lambda: encoded("caf", "alac", channels(1), 16_000),
    "CAF, 7.1": lambda: encoded("caf", "pcm_s16le", channels(8), 16_000),
    "FLAC": lambda: encoded("flac", "flac", channels(1), 16_000),
    "FLAC, 7.1": lambda: encoded("flac", "flac", channels(8), 16_000),
    "FLAC, stereo in opposite phase": lambda: encoded("flac", "flac", opposite_phase(), 16_000),
    "MP3, 44.1 kHz": lambda: mp3(44_100),
    "MP3, 8 kHz, no ID3": lambda: mp3(8_000),
    "MP3, 11.025 kHz, no ID3": lambda: mp3(11_025),
    "MP3, 12 kHz, no ID3": lambda: mp3(12_000),
    "MP3, leading zeros": lambda: bytes(1000) + mp3(8_000),
    "MP3, ID3": lambda: encoded("mp3", "libmp3lame", channels(1), 16_000),
    "MP3, mono, then stereo": lambda: changing("mp3", "libmp3lame", (1, 16_000), (2, 16_000)),
    "MP3, 44.1, then 22.05 kHz": lambda: changing("mp3", "libmp3lame", (1, 44_100), (1, 22_050)),
    "AAC": lambda: encoded("adts", "aac", channels(1), 16_000),
    "AAC, 7.1": lambda: encoded("adts", "aac", channels(8, 48_000), 48_000),
    "AAC, mono, then stereo": lambda: changing("adts", "aac", (1, 16_000), (2, 16_000)),
    "AAC, 48, then 16 kHz": lambda: changing("adts", "aac", (1, 48_000), (1, 16_000)),
    "Ogg, Opus": lambda: encoded("ogg", "libopus", channels(1), 16_000),
    "Ogg, Vorbis": lambda: encoded("ogg", "vorbis", channels(2, 44_100), 44_100),
    "Ogg, Opus, 7.1": lambda: encoded("ogg", "libopus", channels(8, 48_000), 48_000),
    "Ogg, chained Opus, mono, then stereo": lambda: changing(
        "ogg", "libopus", (1, 16_000), (2, 48_000)
    ),
    "Ogg, chained Vorbis, 44.1, then 16 kHz": lambda: changing(
        "ogg", "vorbis", (2, 44_100), (2, 16_000)
    ),
    "WebM, Opus": lambda: encoded("webm", "libopus", channels(1, 48_000), 48_000),
    "WebM, Opus, 7.1": lambda: encoded("webm", "libopus", channels(8, 48_000), 48_000),
    "Matroska, Opus": lambda: encoded("matroska", "libopus", channels(1), 16_000),
    "Matroska, PCM, 7.1": lambda: encoded("matroska", "pcm_s16le", channels(8), 16_000),
    "MP4, AAC": lambda: encoded("mp4", "aac", channels(1), 16_000),
    "MP4, AAC, 7.1": lambda: encoded("mp4", "aac", channels(8, 48_000), 48_000),
    "MP4, ALAC": lambda: encoded("ipod", "alac", channels(1), 16_000),
    "MP4, unknown duration": mp4_of_unknown_duration,
    "MP4, fragmented": lambda: encoded(
        "mp4", "aac", channels(1), 16_000, {"movflags": "empty_moov+frag_keyframe"}
    ),
    "MOV, AAC": lambda: encoded("mov", "aac", channels(1), 16_000),
    "MOV, PCM, 7.1": lambda: encoded("mov", "pcm_s16le", channels(8), 16_000),
    "3GP, AMR": lambda: encoded("3gp", "libopencore_amrnb", channels(1, 8_000), 8_000),
    "3GP, AAC": lambda: encoded("3gp", "aac", channels(1), 16_000),
    "3G2, AAC": lambda: encoded("3g2", "aac", channels(1), 16_000),
    "AMR": lambda: encoded("amr", "libopencore_amrnb", channels(1, 8_000), 8_000),
}
"""A builder of one file for each dialect in docs/audio.md."""
