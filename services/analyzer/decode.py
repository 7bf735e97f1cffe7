"""Decodes audio files into samples."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import InvalidDataError

from services.analyzer import ogg
from services.analyzer.downmix import Downmix, Samples
from services.analyzer.failures import AnalysisFailure, Reason
from services.runtime.audio_formats import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    OGG,
    AudioFormat,
    format_of,
)

SAMPLE_RATE = 16_000

# FFmpeg runs decoders to describe all streams of a file, also pictures and videos. A picture of
# a few KB can need gigabytes.
_DECODERS = (
    *("aac", "aac_latm", "ac3", "eac3", "alac", "flac", "opus", "libopus", "vorbis", "speex"),
    *("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "wavpack", "tta", "ilbc"),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "gsm", "gsm_ms", "qcelp", "evrc"),
    *("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_yamaha", "g722", "g726", "g726le"),
    *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le"),
    *("pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_s64le", "pcm_s64be", "pcm_u16le", "pcm_u16be"),
    *("pcm_u24le", "pcm_u24be", "pcm_u32le", "pcm_u32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
)

# A few damaged packets are common and harmless, such as a truncated last MP3 frame.
_MAX_DAMAGED_SHARE = 0.1

_MAX_LINKS = 100


def decode(data: bytes, max_seconds: float) -> Samples:
    """Decode the first audio stream into mono samples at 16 kHz, -1 to 1.

    Reads the formats of `services.runtime.audio_formats` with up to 64 channels, at 4 to 384 kHz.
    Both may change within a file. Averages the channels; where that cancels the sound, uses the
    loudest channel instead.

    Raises AnalysisFailure: UNDECODABLE_AUDIO if the file is damaged or not audio, EMPTY_AUDIO if
    it has no samples, and AUDIO_TOO_LONG as soon as it exceeds `max_seconds`.
    """
    try:
        mixes = _mixes(data, max_seconds, {})
        better = {index: mix.better_channel for index, mix in enumerate(mixes)}
        if any(channel is not None for channel in better.values()):
            # Decodes again, because only a bounded number of channels fits into memory.
            mixes = _mixes(data, max_seconds, better)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO) from error
    if not any(len(mix.samples) for mix in mixes):
        raise AnalysisFailure(Reason.EMPTY_AUDIO)
    return np.concatenate([mix.samples for mix in mixes])


def _mixes(data: bytes, max_seconds: float, channels: Mapping[int, int | None]) -> list[Downmix]:
    """One mix for each part of the file in which all frames have the same properties.

    channels: the channel to use in a part, by the index of the part; default: the mean of all.
    """
    found = format_of(data)
    if found is None:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
    files = ogg.links(data) if found is OGG else [data]
    if len(files) > _MAX_LINKS:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
    decoded = chain.from_iterable(_frames(file, found) for file in files)
    parts = groupby(_bounded(decoded, max_seconds), _properties)
    return [_mixed(part, Downmix(channels.get(index))) for index, (_, part) in enumerate(parts)]


def _frames(data: bytes, audio_format: AudioFormat) -> Iterator[av.AudioFrame]:
    """The frames of the first audio stream of a file."""
    with av.open(
        io.BytesIO(data),
        "r",
        # FFmpeg's own choice may be a playlist, whose files and URLs it would then open.
        format=audio_format.demuxer,
        options={"codec_whitelist": ",".join(_DECODERS)},
        metadata_errors="ignore",
    ) as container:
        yield from _decoded(container, _audio_stream(container))


def _audio_stream(container: InputContainer) -> AudioStream:
    stream = next(iter(container.streams.audio), None)
    if stream is None or stream.codec_context is None:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
    context = stream.codec_context
    # PyAV frees a layout with named channels each time it is read, so read it once and replace it.
    channels = context.channels
    if context.name not in _DECODERS or channels > MAX_CHANNELS:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
    if channels:
        context.layout = f"{channels} channels"
    return stream


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    packets = damaged = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except InvalidDataError:
            damaged += 1
            continue
        yield from frames
    if damaged > packets * _MAX_DAMAGED_SHARE:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)


def _bounded(frames: Iterable[av.AudioFrame], max_seconds: float) -> Iterator[av.AudioFrame]:
    """The frames, as long as resampling them is cheap."""
    seconds = 0.0
    for frame in frames:
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE and 0 < channels <= MAX_CHANNELS):
            raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
        seconds += frame.samples / rate
        if seconds > max_seconds:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG)
        yield frame


def _properties(frame: av.AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _mixed(frames: Iterable[av.AudioFrame], mix: Downmix) -> Downmix:
    # Packed samples, because PyAV reads past the end of eight or more planes.
    resampler = av.AudioResampler(format="flt", rate=SAMPLE_RATE)
    for frame in chain(frames, [None]):
        for resampled in resampler.resample(frame):
            # A resampler with nothing to do returns its argument.
            if resampled is not None:
                channels = resampled.layout.nb_channels
                mix.add(resampled.to_ndarray().astype(np.float32).reshape(-1, channels))
    return mix
