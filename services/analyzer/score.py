"""How close a take comes to the reference, in scores from 0 to 100.

Every contour is compared along the words: only frames of the same word, paired
by dynamic time warping, one path a word. Words that were not found in the take
were not imitated either, so `found_share`, their share of the reference's
speaking time in 0..1, scales the scores for pitch, timing and energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.analyzer.align import Span
from services.analyzer.features import Contour
from services.analyzer.pitch import semitones

ANALYZER_VERSION = "1"
"""To be raised with every change of what results say: older ones are then not reused.

That is not this module alone: also `analysis`, `align`, `decode`, `features`, `pitch`,
`g2p` and `dtw`.
"""

# Mean loss of fit, in nats a frame, where another sentence is said; measured on the
# few sample recordings, as is the next.
_LOST_FIT = 6.0

# What warping leaves of the chance distance between words of different sentences.
_LOST_LIKENESS = 0.77

_FIT_WEIGHT = 0.8
_FOUND_SCORE = 15.0
_FEWEST_VOICED = 10
_FLAT_SEMITONES = 0.5
_LOST_SEMITONES = 6.0
_CHANCE_RHYTHM = 0.5


@dataclass(frozen=True)
class Scores:
    """Each from 0 to 100."""

    pronunciation: float
    pitch: float
    timing: float
    energy: float

    @property
    def overall(self) -> float:
        """Weighted mean: pronunciation 0.5, pitch 0.2, timing 0.2, energy 0.1.

        What is said counts as much as how; the weights are this product's choice.
        """
        return 0.5 * self.pronunciation + 0.2 * self.pitch + 0.2 * self.timing + 0.1 * self.energy


def likeness_score(distance: float, chance_distance: float) -> float:
    """How alike two words sound by their timbre, 0-100.

    `distance` is the mean along the warping path, `chance_distance` that of any
    two frames of the two voices. 100 * (1 - (ratio / 0.77)^2): the share of
    squared distance explained, as in a coefficient of determination, where 0.77
    is the ratio that warping reaches for words of different sentences.
    """
    if chance_distance <= 0:
        return 0.0
    return _percent(1 - (distance / chance_distance / _LOST_LIKENESS) ** 2)


def word_score(reference_fit: float | None, take_fit: float | None, likeness: float) -> float:
    """Pronunciation of one word, 0-100.

    0.8 of the fit's score and 0.2 of the `likeness` (0-100), which unlike the fit
    also tells speakers apart; the likeness alone where a fit is unknown. The
    fit's score falls linearly with what the take loses against the reference:
    100 at no loss, 0 at 6 nats a frame, the mean of the samples of other sentences.
    It is the goodness of pronunciation (Witt and Young 2000) relative to the
    model speaker's, so that neither an odd name nor a poor clip is held against
    the learner.
    """
    if reference_fit is None or take_fit is None:
        return likeness
    loss = max(0.0, reference_fit - take_fit)
    return _FIT_WEIGHT * _percent(1 - loss / _LOST_FIT) + (1 - _FIT_WEIGHT) * likeness


def is_found(score: float) -> bool:
    """Whether a word with this pronunciation, 0-100, was said at all: 15 or more."""
    return score >= _FOUND_SCORE


def pronunciation_score(word_scores: Sequence[float], frames: Sequence[int]) -> float:
    """Mean of the word scores, 0-100, weighted by the reference's frames of each word."""
    return float(np.average(word_scores, weights=frames))


def pitch_score(reference_hz: Contour, take_hz: Contour, found_share: float) -> float:
    """How alike the melodies are, 0-100.

    The contours are paired frame by frame, NaN where unvoiced. In semitones from
    each speaker's median, so that a higher voice costs nothing:
    50 * correlation + 50 * (1 - RMSE / 6 semitones), neither below 0. Correlation
    and RMSE are the two measures of Hermes 1998. A reference that moves less
    than half a semitone is judged by RMSE alone. With fewer than 0.1 s voiced in
    both voices 0, in the reference 100: nothing to imitate.
    """
    if np.count_nonzero(~np.isnan(reference_hz)) < _FEWEST_VOICED:
        return 100.0 * found_share
    voiced = ~np.isnan(reference_hz) & ~np.isnan(take_hz)
    if np.count_nonzero(voiced) < _FEWEST_VOICED:
        return 0.0
    reference = semitones(reference_hz[voiced], float(np.median(reference_hz[voiced])))
    take = semitones(take_hz[voiced], float(np.median(take_hz[voiced])))
    nearness = _percent(1 - float(np.sqrt(np.mean(np.square(reference - take)))) / _LOST_SEMITONES)
    if reference.std() < _FLAT_SEMITONES:
        return found_share * nearness
    return found_share * (nearness + _percent(_correlation(reference, take))) / 2


def timing_score(reference: Sequence[Span], take: Sequence[Span], found_share: float) -> float:
    """How alike rhythm and tempo are over the found words, 0-100.

    100 * rhythm * tempo. Rhythm is 1 - V / 0.5, not below 0, where V is the total
    variation distance between the shares of time that words and the pauses
    between them take; two random divisions of time differ by 0.5 in the mean.
    Tempo is the shorter length over the longer. No words at all give 0.
    """
    if not reference:
        return 0.0
    reference_length, take_length = _length(reference), _length(take)
    variation = np.abs(_shares(reference) - _shares(take)).sum() / 2
    rhythm = 1 - float(variation) / _CHANCE_RHYTHM
    tempo = min(reference_length, take_length) / max(reference_length, take_length)
    return found_share * _percent(rhythm) * tempo


def energy_score(reference_db: Contour, take_db: Contour, found_share: float) -> float:
    """How alike louder and softer are spread, 0-100.

    100 * Pearson's correlation of the paired contours in dB, not below 0; the
    level of the microphone doesn't count.
    """
    return found_share * _percent(_correlation(reference_db, take_db))


def _length(spans: Sequence[Span]) -> int:
    return spans[-1].end - spans[0].start


def _shares(spans: Sequence[Span]) -> Contour:
    """Share of the whole time of each word and of each pause after a word."""
    words = [span.end - span.start for span in spans]
    starts = [span.start for span in spans[1:]]
    pauses = [max(0, start - span.end) for start, span in zip(starts, spans, strict=False)]
    parts = np.array(words + pauses, dtype=np.float64)
    shares: Contour = parts / parts.sum()
    return shares


def _correlation(a: Contour, b: Contour) -> float:
    """Pearson's, -1..1; 0 where a side doesn't vary or there is nothing to compare."""
    if len(a) < 2 or min(a.std(), b.std()) < 1e-9:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def _percent(share: float) -> float:
    return 100.0 * min(1.0, max(0.0, share))
