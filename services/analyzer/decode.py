"""Decodes audio files into samples."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import InvalidDataError

from services.analyzer.failures import AnalysisFailure, Reason

SAMPLE_RATE = 16_000

# Only containers that hold their audio themselves. FFmpeg also reads playlists, and would then
# open the files and URLs that an uploaded playlist names.
_CONTAINERS = "wav,w64,aiff,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,amr"

# A few damaged packets are common and harmless, such as a truncated last MP3 frame.
_MAX_DAMAGED_SHARE = 0.1

Samples = npt.NDArray[np.float32]


def decode(data: bytes, max_seconds: float) -> Samples:
    """Decode the first audio stream into mono samples at 16 kHz, -1 to 1.

    Reads any sample rate, channel count and codec that FFmpeg supports, in the containers
    that browsers and phones record. Raises AnalysisFailure: UNDECODABLE_AUDIO if the file is
    damaged or not audio, EMPTY_AUDIO if it has no samples, and AUDIO_TOO_LONG as soon as it
    exceeds `max_seconds`.
    """
    try:
        with av.open(
            io.BytesIO(data),
            "r",
            options={"format_whitelist": _CONTAINERS},
            metadata_errors="ignore",
        ) as container:
            return _samples(container, int(max_seconds * SAMPLE_RATE))
    except (av.FFmpegError, ValueError) as error:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO) from error


def _samples(container: InputContainer, max_samples: int) -> Samples:
    if not container.streams.audio:
        raise AnalysisFailure(Reason.UNDECODABLE_AUDIO)
    chunks: list[Samples] = []
    length = 0
    for chunk in _chunks(container, container.streams.audio[0]):
        chunks.append(chunk)
        length += len(chunk)
        if length > max_samples:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG)
    if not length:
        raise AnalysisFailure(Reason.EMPTY_AUDIO)
    samples = np.nan_to_num(np.concatenate(chunks), posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1.0, 1.0)


def _chunks(container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
    # Averages the channels itself, because FFmpeg's mix of floats may exceed full scale.
    resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
    for frame in chain(_frames(container, stream), [None]):
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray().mean(axis=0, dtype=np.float32)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
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
