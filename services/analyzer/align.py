"""Forced alignment: finds the words of a known English sentence in a recording."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pocketsphinx import Decoder

from services.analyzer.downmix import Samples
from services.analyzer.g2p import dictionary_words, guessed_phones

_WORST_FIT = -12.0
_PEAK_LEVEL = 0.7
_FILLERS = ("<", "[", "+")


@dataclass(frozen=True)
class Span:
    """The frames of a word, 10 ms each: from `start` to before `end`, at least one.

    fit: how well the word's sounds match the frames: the mean over the frames of
        ln(likelihood of the word's sounds / likelihood of the likeliest sounds). 0 is the
        best, clear native speech has about -3, -12 is the worst. None if the dictionary does
        not have the word.
    """

    start: int
    end: int
    fit: float | None = None


class Aligner:
    """Aligns English words with the acoustic model of pocketsphinx. Not thread-safe."""

    def __init__(self) -> None:
        # compallsen scores all sounds in every frame, so that the likelihood of a word is
        # relative to that of the likeliest sounds. The language weight helps to guess words.
        # Here they are known, and a higher weight would only make pauses less likely.
        self._decoder = Decoder(lm=None, lw=1.0, compallsen=True, cmn="batch", loglevel="FATAL")
        self._guessed: set[str] = set()

    def align(self, samples: Samples, words: Sequence[str]) -> list[Span] | None:
        """The span of each word, in order; None if the words do not match the recording.

        Forced alignment with hidden Markov models. The fit is the goodness of pronunciation
        (Witt and Young 2000), with the likeliest senones in place of the likeliest phones.
        """
        spellings = [dictionary_words(word) for word in words]
        if not all(spellings):
            return None
        known = [[self._is_known(word) for word in parts] for parts in spellings]
        spans = self._spans([word for parts in spellings for word in parts], _pcm(samples))
        if spans is None:
            return None
        remaining = iter(spans)
        return [_join([next(remaining) for _ in parts], all(parts)) for parts in known]

    def _is_known(self, word: str) -> bool:
        """Whether the dictionary has the word. If not, adds a guessed pronunciation."""
        if self._decoder.lookup_word(word) is None:
            self._decoder.add_word(word, guessed_phones(word), True)
            self._guessed.add(word)
        return word not in self._guessed

    def _spans(self, words: list[str], pcm: bytes) -> list[Span] | None:
        self._decoder.set_align_text(" ".join(words))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        if self._decoder.hyp() is None:
            return None
        spans = list(self._segments())
        return spans if len(spans) == len(words) else None

    def _segments(self) -> Iterator[Span]:
        for segment in self._decoder.seg():
            if not segment.word.startswith(_FILLERS):
                end = segment.end_frame + 1
                fit = _fit(segment.ascore, end - segment.start_frame)
                yield Span(segment.start_frame, end, fit)


def _fit(likelihood: float, frames: int) -> float:
    """The mean log likelihood per frame. The likelihood of a long, bad word underflows to 0."""
    return max(math.log(likelihood) / frames, _WORST_FIT) if likelihood > 0 else _WORST_FIT


def _join(parts: Sequence[Span], known: bool) -> Span:
    lengths = [part.end - part.start for part in parts]
    fit = float(np.average([part.fit or 0.0 for part in parts], weights=lengths))
    return Span(parts[0].start, parts[-1].end, fit if known else None)


def _pcm(samples: Samples) -> bytes:
    """16-bit samples with a fixed peak level, so that quiet takes keep their resolution."""
    peak = float(np.abs(samples).max(initial=0.0)) or 1.0
    return (samples * (_PEAK_LEVEL / peak * 32767)).astype("<i2").tobytes()
