"""From a file's bytes to samples."""

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

# Only containers that hold their audio themselves. FFmpeg also reads playlists,
# which would make it open whatever files and URLs a recording names.
_CONTAINERS = "wav,w64,aiff,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,amr"

# A few damaged packets, such as a last MP3 frame cut short, are common and harmless.
_MAX_DAMAGED_SHARE = 0.1

Samples = npt.NDArray[np.float32]


def decode(data: bytes, max_seconds: float) -> Samples:
    """Mono samples of the first audio stream, in -1..1 at 16 kHz.

    Any rate, number of channels and codec that FFmpeg knows, in the containers
    that browsers and phones record. Raises AnalysisFailure: UNDECODABLE_AUDIO
    for what is no audio or badly damaged, EMPTY_AUDIO for no samples,
    AUDIO_TOO_LONG beyond `max_seconds`, as soon as that many were decoded.
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
    pieces: list[Samples] = []
    length = 0
    for piece in _pieces(container, container.streams.audio[0]):
        pieces.append(piece)
        length += len(piece)
        if length > max_samples:
            raise AnalysisFailure(Reason.AUDIO_TOO_LONG)
    if not length:
        raise AnalysisFailure(Reason.EMPTY_AUDIO)
    samples = np.nan_to_num(np.concatenate(pieces), posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1.0, 1.0)


def _pieces(container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
    # Channels are averaged here: FFmpeg's own mix of floats may exceed full scale.
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
