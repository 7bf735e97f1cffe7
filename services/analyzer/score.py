"""Scores from 0 to 100: how close a take is to its reference.

Contours are compared only over frames of the same word, which dynamic time warping matches.
The learner did not imitate the words that were not found in the take. So `found_share` scales
the scores for pitch, timing and energy: the share, 0 to 1, that the found words have in the
speaking time of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.analyzer.align import Span
from services.analyzer.features import Contour
from services.analyzer.pitch import semitones

ANALYZER_VERSION = "2"
"""Increase it with every change that affects results, so that older results are not reused.

Results also depend on `analysis`, `align`, `decode`, `downmix`, `hum`, `features`, `pitch`, `g2p`
and `dtw`.
"""

# The mean loss of fit for a different sentence, in nats per frame. This and the next constant
# were measured on the few sample recordings.
_WORST_FIT_LOSS = 6.0

# The ratio of the distance to the chance distance for a different sentence.
_WORST_DISTANCE_RATIO = 0.77

_FIT_WEIGHT = 0.8
_FOUND_SCORE = 15.0
_MIN_VOICED_FRAMES = 10
_FLAT_SEMITONES = 0.5
_WORST_SEMITONES = 6.0
_CHANCE_VARIATION = 0.5


@dataclass(frozen=True)
class Scores:
    """The scores of a take, each from 0 to 100."""

    pronunciation: float
    pitch: float
    timing: float
    energy: float

    @property
    def overall(self) -> float:
        """The weighted mean: pronunciation 0.5, pitch 0.2, timing 0.2, energy 0.1.

        Words and delivery count equally. The weights are a choice of this product.
        """
        return 0.5 * self.pronunciation + 0.2 * self.pitch + 0.2 * self.timing + 0.1 * self.energy


def likeness_score(distance: float, chance_distance: float) -> float:
    """The similarity of two words by their timbre, 0-100.

    distance: the mean timbre distance of the matched frames.
    chance_distance: the mean timbre distance of arbitrary frames of the two voices.

    100 * (1 - (distance / chance_distance / 0.77)^2): the explained share of the squared
    distance, as in a coefficient of determination. DTW reaches a ratio of 0.77 for words of
    different sentences.
    """
    if chance_distance <= 0:
        return 0.0
    return _percent(1 - (distance / chance_distance / _WORST_DISTANCE_RATIO) ** 2)


def word_score(reference_fit: float | None, take_fit: float | None, likeness: float) -> float:
    """The pronunciation of one word, 0-100.

    0.8 * fit score + 0.2 * likeness (0-100), or the likeness alone if a fit is unknown. Unlike
    the fit, the likeness distinguishes speakers. The fit score falls linearly with the
    difference between both fits: 100 without a loss, 0 at 6 nats per frame, which is the mean
    of the samples of other sentences. It is the goodness of pronunciation (Witt and Young
    2000) relative to that of the reference, so that an unusual name or a clip of poor quality
    does not count against the learner.
    """
    if reference_fit is None or take_fit is None:
        return likeness
    loss = max(0.0, reference_fit - take_fit)
    return _FIT_WEIGHT * _percent(1 - loss / _WORST_FIT_LOSS) + (1 - _FIT_WEIGHT) * likeness


def is_found(score: float) -> bool:
    """Whether a word with this pronunciation score (0-100) was spoken: 15 or more."""
    return score >= _FOUND_SCORE


def pronunciation_score(word_scores: Sequence[float], frames: Sequence[int]) -> float:
    """The mean of the word scores, weighted by the frames of each word in the reference."""
    return float(np.average(word_scores, weights=frames))


def pitch_score(reference_hz: Contour, take_hz: Contour, found_share: float) -> float:
    """The similarity of the pitch contours, 0-100.

    The contours have matching frames; NaN means unvoiced.

    50 * correlation + 50 * (1 - RMSE / 6 semitones), neither below 0, in semitones from each
    speaker's median, so that a higher voice costs nothing. Correlation and RMSE are the two
    measures of Hermes 1998. If the reference varies by less than half a semitone, RMSE alone
    counts. If the reference has less than 0.1 s of voiced frames, there is nothing to imitate
    and the score is 100. If both together have less, it is 0.
    """
    if np.count_nonzero(~np.isnan(reference_hz)) < _MIN_VOICED_FRAMES:
        return 100.0 * found_share
    voiced = ~np.isnan(reference_hz) & ~np.isnan(take_hz)
    if np.count_nonzero(voiced) < _MIN_VOICED_FRAMES:
        return 0.0
    reference = semitones(reference_hz[voiced], float(np.median(reference_hz[voiced])))
    take = semitones(take_hz[voiced], float(np.median(take_hz[voiced])))
    nearness = _percent(1 - float(np.sqrt(np.mean(np.square(reference - take)))) / _WORST_SEMITONES)
    if reference.std() < _FLAT_SEMITONES:
        return found_share * nearness
    return found_share * (nearness + _percent(_correlation(reference, take))) / 2


def timing_score(reference: Sequence[Span], take: Sequence[Span], found_share: float) -> float:
    """The similarity of rhythm and tempo over the found words, 0-100; 0 without words.

    100 * rhythm * tempo. Rhythm is 1 - V / 0.5, not below 0. V is the total variation distance
    between the shares of time of the words and of the pauses between them; it averages 0.5 for
    two random divisions of time. Tempo is the shorter duration divided by the longer.
    """
    if not reference:
        return 0.0
    reference_length, take_length = _length(reference), _length(take)
    variation = np.abs(_shares(reference) - _shares(take)).sum() / 2
    rhythm = 1 - float(variation) / _CHANCE_VARIATION
    tempo = min(reference_length, take_length) / max(reference_length, take_length)
    return found_share * _percent(rhythm) * tempo


def energy_score(reference_db: Contour, take_db: Contour, found_share: float) -> float:
    """The similarity of the loudness contours, 0-100.

    100 * Pearson's correlation of the contours in dB, not below 0. The contours have matching
    frames. The level of the microphone does not matter.
    """
    return found_share * _percent(_correlation(reference_db, take_db))


def _length(spans: Sequence[Span]) -> int:
    return spans[-1].end - spans[0].start


def _shares(spans: Sequence[Span]) -> Contour:
    """The share of the total time of each word and of each pause after a word."""
    words = [span.end - span.start for span in spans]
    starts = [span.start for span in spans[1:]]
    pauses = [max(0, start - span.end) for start, span in zip(starts, spans, strict=False)]
    parts = np.array(words + pauses, dtype=np.float64)
    shares: Contour = parts / parts.sum()
    return shares


def _correlation(a: Contour, b: Contour) -> float:
    """Pearson's correlation, -1 to 1; 0 if a contour is constant or has less than two frames."""
    if len(a) < 2 or min(a.std(), b.std()) < 1e-9:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def _percent(share: float) -> float:
    return 100.0 * min(1.0, max(0.0, share))
