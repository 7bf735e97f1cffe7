"""Where the words of a known English sentence lie in a voice, and how well they fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pocketsphinx import Decoder

from services.analyzer.decode import Samples
from services.analyzer.g2p import dictionary_words, guessed_phones

_WORST_FIT = -12.0
_LOUDEST = 0.7
_FILLERS = ("<", "[", "+")


@dataclass(frozen=True)
class Span:
    """A word's frames of 10 ms, `end` excluded and after `start`.

    fit: mean over the frames of ln(likelihood of the word's sounds / likelihood
    of the likeliest sounds), 0 at best, about -3 in clear native speech, -12 at
    worst; None where the model can't judge.
    """

    start: int
    end: int
    fit: float | None = None


class Aligner:
    """The English acoustic model. Not to be shared by threads."""

    def __init__(self) -> None:
        # All sounds are scored in each frame, so that a word's likelihood is
        # relative to the best that any sounds could reach. The language weight is for
        # guessing words; here they are known, and it would only make pauses too dear.
        self._decoder = Decoder(lm=None, lw=1.0, compallsen=True, cmn="batch", loglevel="FATAL")
        self._guessed: set[str] = set()

    def align(self, samples: Samples, words: Sequence[str]) -> list[Span] | None:
        """One span for each of `words` in order, or None where they don't fit at all.

        Forced alignment by hidden Markov models. The fit is the goodness of
        pronunciation (Witt and Young 2000) with a free choice of senones in
        place of a free choice of phones.
        """
        spelled = [dictionary_words(word) for word in words]
        if not all(spelled):
            return None
        known = [[self._know(word) for word in parts] for parts in spelled]
        found = self._found([word for parts in spelled for word in parts], _pcm(samples))
        if found is None:
            return None
        remaining = iter(found)
        return [_joined([next(remaining) for _ in parts], all(parts)) for parts in known]

    def _know(self, word: str) -> bool:
        """Whether the dictionary has the word; if not, a guess is added to align it by."""
        if self._decoder.lookup_word(word) is None:
            self._decoder.add_word(word, guessed_phones(word), True)
            self._guessed.add(word)
        return word not in self._guessed

    def _found(self, words: list[str], pcm: bytes) -> list[Span] | None:
        self._decoder.set_align_text(" ".join(words))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        if self._decoder.hyp() is None:
            return None
        spans = list(self._spans())
        return spans if len(spans) == len(words) else None

    def _spans(self) -> Iterator[Span]:
        for segment in self._decoder.seg():
            if not segment.word.startswith(_FILLERS):
                end = segment.end_frame + 1
                fit = _fit(segment.ascore, end - segment.start_frame)
                yield Span(segment.start_frame, end, fit)


def _fit(likelihood: float, frames: int) -> float:
    """Mean logarithm per frame; a long word that fits badly underflows to 0."""
    return max(math.log(likelihood) / frames, _WORST_FIT) if likelihood > 0 else _WORST_FIT


def _joined(parts: Sequence[Span], known: bool) -> Span:
    lengths = [part.end - part.start for part in parts]
    fit = float(np.average([part.fit or 0.0 for part in parts], weights=lengths))
    return Span(parts[0].start, parts[-1].end, fit if known else None)


def _pcm(samples: Samples) -> bytes:
    """16-bit samples at an even level, so that quiet takes keep their resolution."""
    peak = float(np.abs(samples).max(initial=0.0)) or 1.0
    return (samples * (_LOUDEST / peak * 32767)).astype("<i2").tobytes()
