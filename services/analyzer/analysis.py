"""The analysis of a take: two audio files and the scripts in, the results out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from services.analyzer.align import Aligner, Span
from services.analyzer.decode import SAMPLE_RATE, decode
from services.analyzer.downmix import Samples
from services.analyzer.dtw import Path, align_frames, distances
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.features import (
    FRAME_SECONDS,
    Contour,
    Matrix,
    active,
    is_silent,
    loudness,
    timbre,
)
from services.analyzer.g2p import is_english
from services.analyzer.hum import without_hum
from services.analyzer.pitch import pitch
from services.analyzer.request import Script, Word
from services.analyzer.score import (
    ANALYZER_VERSION,
    Scores,
    energy_score,
    is_found,
    likeness_score,
    pitch_score,
    pronunciation_score,
    timing_score,
    word_score,
)

_SOFT_FRAMES = 15


class PitchResult(TypedDict):
    """Both pitch contours in Hz: one value per `frame_step` seconds, null if unvoiced."""

    frame_step: float
    recording: list[float | None]
    reference: list[float | None]


class WordResult(TypedDict):
    """One word. If it was not found, its times in the recording are null and its score is 0."""

    text: str
    start_time: float | None
    end_time: float | None
    reference_start_time: float
    reference_end_time: float
    score: float


class AnalysisResults(TypedDict):
    """The results in a report: scores from 0 to 100, times in seconds."""

    analyzer_version: str
    overall_score: float
    pronunciation_score: float
    pitch_score: float
    timing_score: float
    energy_score: float
    duration: float
    reference_duration: float
    pitch: PitchResult
    words: list[WordResult]


@dataclass(frozen=True)
class Voice:
    """The features of one recording. Contours have one frame per 10 ms."""

    samples: Samples
    loudness: Contour
    timbre: Matrix
    pitch: Contour

    @property
    def frames(self) -> int:
        """The number of frames in each contour."""
        return len(self.loudness)

    @property
    def seconds(self) -> float:
        """The duration."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Reference:
    """The reference voice with its words.

    spans: the frames of each word.
    aligned: whether the spans come from forced alignment and not from the scripts.
    """

    voice: Voice
    words: tuple[Word, ...]
    spans: tuple[Span, ...]
    aligned: bool


@dataclass(frozen=True)
class WordMatch:
    """One word in both voices.

    reference, take: the frames of the word.
    path: the matched frames.
    score: pronunciation, 0-100.
    """

    reference: Span
    take: Span
    path: Path
    score: float


def read_voice(data: bytes, max_seconds: float) -> Voice:
    """Decode an audio file and compute its features.

    Raises AnalysisFailure: the reasons of `decode`, and SILENT_AUDIO.
    """
    samples = without_hum(decode(data, max_seconds))
    levels = loudness(samples)
    if is_silent(levels):
        raise AnalysisFailure(Reason.SILENT_AUDIO)
    return Voice(samples, levels, timbre(samples, levels), pitch(samples))


def read_reference(
    data: bytes, scripts: Sequence[Script], max_seconds: float, aligner: Aligner
) -> Reference:
    """Read the reference voice with the words of all scripts, in order.

    If all scripts are English and match the voice, the word times come from forced alignment,
    as they do for takes. Otherwise they come from the scripts. Raises AnalysisFailure:
    REFERENCE_UNAVAILABLE if the file cannot be used.
    """
    try:
        voice = read_voice(data, max_seconds)
    except AnalysisFailure as failure:
        raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE) from failure
    words = tuple(word for script in scripts for word in script.timed_words())
    english = all(is_english(script.text, script.language_code) for script in scripts)
    aligned = aligner.align(voice.samples, [word.text for word in words]) if english else None
    spans = aligned or [_script_span(word, voice.frames) for word in words]
    return Reference(voice, words, tuple(spans), aligned is not None)


def compare(reference: Reference, take: Voice, aligner: Aligner) -> AnalysisResults:
    """Compare a take with its reference: scores, pitch contours and words."""
    matches = _match_words(reference, take, aligner)
    scores = _scores(reference, take, matches)
    return {
        "analyzer_version": ANALYZER_VERSION,
        "overall_score": round(scores.overall, 1),
        "pronunciation_score": round(scores.pronunciation, 1),
        "pitch_score": round(scores.pitch, 1),
        "timing_score": round(scores.timing, 1),
        "energy_score": round(scores.energy, 1),
        "duration": round(take.seconds, 3),
        "reference_duration": round(reference.voice.seconds, 3),
        "pitch": {
            "frame_step": FRAME_SECONDS,
            "recording": _hertz(take.pitch),
            "reference": _hertz(reference.voice.pitch),
        },
        "words": [
            _word_result(word, match) for word, match in zip(reference.words, matches, strict=True)
        ],
    }


def _script_span(word: Word, frames: int) -> Span:
    """The times of a script's word as frames within the voice, at least one frame."""
    start = min(round(word.start_time / FRAME_SECONDS), frames - 1)
    end = min(round(word.end_time / FRAME_SECONDS), frames)
    return Span(start, max(end, start + 1))


def _match_words(reference: Reference, take: Voice, aligner: Aligner) -> list[WordMatch]:
    """Find each word in the take, by forced alignment or else by DTW.

    The aligner finds all words or none. If it finds none, for example in an incomplete or a
    noisy take, timbre alone decides the scores. One DTW path matches the frames of all words:
    separate paths would suffer where the aligner misplaces the boundary between two words.
    """
    texts = [word.text for word in reference.words]
    aligned = aligner.align(take.samples, texts) if reference.aligned else None
    path = _match_frames(reference, take, aligned)
    spans = aligned or [_map_span(span, path) for span in reference.spans]
    chance = _chance_distance(reference.voice, take)
    return [
        _match(reference.voice, take, expected, span, _section(path, expected), chance)
        for expected, span in zip(reference.spans, spans, strict=True)
    ]


def _match_frames(reference: Reference, take: Voice, aligned: Sequence[Span] | None) -> Path:
    """Match the frames of both voices, from the first to the last word or voiced frame."""
    first, last = _extent(reference.spans) if aligned else _voiced_extent(reference.voice)
    start, end = _extent(aligned) if aligned else _voiced_extent(take)
    path = align_frames(reference.voice.timbre[first:last], take.timbre[start:end])
    return Path(path.reference + first, path.take + start)


def _extent(spans: Sequence[Span]) -> tuple[int, int]:
    return min(span.start for span in spans), max(span.end for span in spans)


def _voiced_extent(voice: Voice) -> tuple[int, int]:
    """From the first to the last frame with voice, with a margin for soft sounds."""
    frames = np.flatnonzero(active(voice.loudness))
    first, last = int(frames[0]), int(frames[-1])
    return max(0, first - _SOFT_FRAMES), min(voice.frames, last + 1 + _SOFT_FRAMES)


def _section(path: Path, reference: Span) -> Path:
    """The section of a path within a word of the reference, at least one pair."""
    first, last = np.searchsorted(path.reference, (reference.start, reference.end))
    first = min(first, len(path.reference) - 1)
    section = slice(first, max(last, first + 1))
    return Path(path.reference[section], path.take[section])


def _map_span(reference: Span, path: Path) -> Span:
    """The frames of the take that the path matches with a word of the reference."""
    section = _section(path, reference)
    return Span(int(section.take[0]), int(section.take[-1]) + 1)


def _match(
    voice: Voice, take: Voice, reference: Span, span: Span, path: Path, chance: float
) -> WordMatch:
    distance = np.linalg.norm(voice.timbre[path.reference] - take.timbre[path.take], axis=1)
    likeness = likeness_score(float(distance.mean()), chance)
    return WordMatch(reference, span, path, word_score(reference.fit, span.fit, likeness))


def _chance_distance(reference: Voice, take: Voice) -> float:
    """The mean timbre distance between voiced frames of both, sampled to about 500 each."""
    samples = [
        voice.timbre[active(voice.loudness)][:: max(1, voice.frames // 500)]
        for voice in (reference, take)
    ]
    return float(distances(*samples).mean())


def _scores(reference: Reference, take: Voice, matches: Sequence[WordMatch]) -> Scores:
    frames = [match.reference.end - match.reference.start for match in matches]
    found = [match for match in matches if is_found(match.score)]
    share = sum(match.reference.end - match.reference.start for match in found) / sum(frames)
    # np.concatenate needs at least one array.
    no_frames = np.empty(0, dtype=np.intp)
    expected = np.concatenate([no_frames, *(match.path.reference for match in found)])
    actual = np.concatenate([no_frames, *(match.path.take for match in found)])
    return Scores(
        pronunciation=pronunciation_score([match.score for match in matches], frames),
        pitch=pitch_score(reference.voice.pitch[expected], take.pitch[actual], share),
        timing=timing_score(
            [match.reference for match in found], [match.take for match in found], share
        ),
        energy=energy_score(reference.voice.loudness[expected], take.loudness[actual], share),
    )


def _word_result(word: Word, match: WordMatch) -> WordResult:
    found = is_found(match.score)
    return {
        "text": word.text,
        "start_time": round(match.take.start * FRAME_SECONDS, 2) if found else None,
        "end_time": round(match.take.end * FRAME_SECONDS, 2) if found else None,
        "reference_start_time": word.start_time,
        "reference_end_time": word.end_time,
        "score": round(match.score, 1) if found else 0.0,
    }


def _hertz(contour: Contour) -> list[float | None]:
    return [None if np.isnan(hz) else round(float(hz), 1) for hz in contour]
