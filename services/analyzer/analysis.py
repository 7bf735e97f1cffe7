"""The whole analysis: two files and a script in, the result out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from services.analyzer.align import Aligner, Span
from services.analyzer.decode import SAMPLE_RATE, Samples, decode
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
    """Both melodies in Hz, one number each `frame_step` seconds, null where unvoiced."""

    frame_step: float
    recording: list[float | None]
    reference: list[float | None]


class WordResult(TypedDict):
    """One word; its times in the recording are null and its score 0 when not found."""

    text: str
    start_time: float | None
    end_time: float | None
    reference_start_time: float
    reference_end_time: float
    score: float


class AnalysisResults(TypedDict):
    """What the webhook carries: scores 0-100, times in seconds."""

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
    """What is heard in one file; contours have a frame each 10 ms."""

    samples: Samples
    loudness: Contour
    timbre: Matrix
    pitch: Contour

    @property
    def frames(self) -> int:
        """Number of frames of each contour."""
        return len(self.loudness)

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Line:
    """The reference voice and where its words lie; `aligned` by the English model or not."""

    voice: Voice
    words: tuple[Word, ...]
    spans: tuple[Span, ...]
    aligned: bool


@dataclass(frozen=True)
class WordMatch:
    """One word in both voices: its frames, those of them paired, pronunciation 0-100."""

    reference: Span
    take: Span
    path: Path
    score: float


def hear(data: bytes, max_seconds: float) -> Voice:
    """Everything the analysis needs of one file.

    Raises AnalysisFailure: what `decode` raises, or SILENT_AUDIO.
    """
    samples = decode(data, max_seconds)
    levels = loudness(samples)
    if is_silent(levels):
        raise AnalysisFailure(Reason.SILENT_AUDIO)
    return Voice(samples, levels, timbre(samples, levels), pitch(samples))


def reference_line(
    data: bytes, scripts: Sequence[Script], max_seconds: float, aligner: Aligner
) -> Line:
    """The reference voice with the words of all scripts in order.

    Where all scripts are English and fit, the words lie where the aligner finds
    them, so that take and reference are measured alike; else where the scripts
    say. Raises AnalysisFailure: REFERENCE_UNAVAILABLE for an unusable file.
    """
    try:
        voice = hear(data, max_seconds)
    except AnalysisFailure as failure:
        raise AnalysisFailure(Reason.REFERENCE_UNAVAILABLE) from failure
    words = tuple(word for script in scripts for word in script.timed_words())
    english = all(is_english(script.text, script.language_code) for script in scripts)
    aligned = aligner.align(voice.samples, [word.text for word in words]) if english else None
    spans = aligned or [_scripted(word, voice.frames) for word in words]
    return Line(voice, words, tuple(spans), aligned is not None)


def compare(line: Line, take: Voice, aligner: Aligner) -> AnalysisResults:
    """Scores, melodies and words of a take against its line."""
    matches = _matches(line, take, aligner)
    scores = _scores(line, take, matches)
    return {
        "analyzer_version": ANALYZER_VERSION,
        "overall_score": round(scores.overall, 1),
        "pronunciation_score": round(scores.pronunciation, 1),
        "pitch_score": round(scores.pitch, 1),
        "timing_score": round(scores.timing, 1),
        "energy_score": round(scores.energy, 1),
        "duration": round(take.seconds, 3),
        "reference_duration": round(line.voice.seconds, 3),
        "pitch": {
            "frame_step": FRAME_SECONDS,
            "recording": _hertz(take.pitch),
            "reference": _hertz(line.voice.pitch),
        },
        "words": [
            _word_result(word, match) for word, match in zip(line.words, matches, strict=True)
        ],
    }


def _scripted(word: Word, frames: int) -> Span:
    """The script's times as frames inside the voice, one frame at least."""
    start = min(round(word.start_time / FRAME_SECONDS), frames - 1)
    end = min(round(word.end_time / FRAME_SECONDS), frames)
    return Span(start, max(end, start + 1))


def _matches(line: Line, take: Voice, aligner: Aligner) -> list[WordMatch]:
    """Each word where the aligner finds it in the take, else where the warping puts it.

    The aligner finds all words or none. With none, as in half a take or in much
    noise, timbre alone judges. The frames are paired by one path over the whole
    line, since the aligner may misplace a boundary between two words, which then
    would spoil both.
    """
    texts = [word.text for word in line.words]
    found = aligner.align(take.samples, texts) if line.aligned else None
    path = _path(line, take, found)
    spans = found or [_mapped(span, path) for span in line.spans]
    chance = _chance_distance(line.voice, take)
    return [
        _match(line.voice, take, reference, span, _along(reference, path), chance)
        for reference, span in zip(line.spans, spans, strict=True)
    ]


def _path(line: Line, take: Voice, found: Sequence[Span] | None) -> Path:
    """Paired frames of both voices, from the first to the last word or sound."""
    first, last = _extent(line.spans) if found else _heard(line.voice)
    start, end = _extent(found) if found else _heard(take)
    path = align_frames(line.voice.timbre[first:last], take.timbre[start:end])
    return Path(path.reference + first, path.take + start)


def _extent(spans: Sequence[Span]) -> tuple[int, int]:
    return min(span.start for span in spans), max(span.end for span in spans)


def _heard(voice: Voice) -> tuple[int, int]:
    """From the first to the last frame with voice, and a little more for soft sounds."""
    frames = np.flatnonzero(active(voice.loudness))
    first, last = int(frames[0]), int(frames[-1])
    return max(0, first - _SOFT_FRAMES), min(voice.frames, last + 1 + _SOFT_FRAMES)


def _along(reference: Span, path: Path) -> Path:
    """The part of the path along a word, one pair at least."""
    first, last = np.searchsorted(path.reference, (reference.start, reference.end))
    first = min(first, len(path.reference) - 1)
    part = slice(first, max(last, first + 1))
    return Path(path.reference[part], path.take[part])


def _mapped(reference: Span, path: Path) -> Span:
    part = _along(reference, path)
    return Span(int(part.take[0]), int(part.take[-1]) + 1)


def _match(
    voice: Voice, take: Voice, reference: Span, span: Span, path: Path, chance: float
) -> WordMatch:
    apart = np.linalg.norm(voice.timbre[path.reference] - take.timbre[path.take], axis=1)
    likeness = likeness_score(float(apart.mean()), chance)
    return WordMatch(reference, span, path, word_score(reference.fit, span.fit, likeness))


def _chance_distance(reference: Voice, take: Voice) -> float:
    """Mean timbre distance of any two frames with sound, of at most 500 frames each."""
    some = [
        voice.timbre[active(voice.loudness)][:: max(1, voice.frames // 500)]
        for voice in (reference, take)
    ]
    return float(distances(*some).mean())


def _scores(line: Line, take: Voice, matches: Sequence[WordMatch]) -> Scores:
    frames = [match.reference.end - match.reference.start for match in matches]
    found = [match for match in matches if is_found(match.score)]
    share = sum(match.reference.end - match.reference.start for match in found) / sum(frames)
    nowhere = np.empty(0, dtype=np.intp)
    ours = np.concatenate([nowhere, *(match.path.reference for match in found)])
    theirs = np.concatenate([nowhere, *(match.path.take for match in found)])
    return Scores(
        pronunciation=pronunciation_score([match.score for match in matches], frames),
        pitch=pitch_score(line.voice.pitch[ours], take.pitch[theirs], share),
        timing=timing_score(
            [match.reference for match in found], [match.take for match in found], share
        ),
        energy=energy_score(line.voice.loudness[ours], take.loudness[theirs], share),
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
