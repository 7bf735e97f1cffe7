from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.align import Span
from services.analyzer.features import Contour
from services.analyzer.score import (
    Scores,
    energy_score,
    likeness_score,
    pitch_score,
    pronunciation_score,
    timing_score,
    word_score,
)

hertz = st.lists(st.one_of(st.just(float("nan")), st.floats(60, 600)), max_size=60)
decibels = st.lists(st.floats(-100, 0), max_size=60)
shares = st.floats(0, 1)
fits = st.one_of(st.none(), st.floats(-12, 0))


def contour(count: int = 100) -> Contour:
    return 150 * 2 ** (np.sin(np.arange(count) / 10) / 3)


@given(hertz, hertz, decibels, decibels, shares)
def test_contour_scores_are_between_0_and_100(
    a: list[float], b: list[float], c: list[float], d: list[float], share: float
) -> None:
    pairs, loud = min(len(a), len(b)), min(len(c), len(d))
    assert 0 <= pitch_score(np.array(a[:pairs]), np.array(b[:pairs]), share) <= 100
    assert 0 <= energy_score(np.array(c[:loud]), np.array(d[:loud]), share) <= 100


@st.composite
def spans(draw: st.DrawFn, count: int) -> list[Span]:
    cuts = draw(st.lists(st.integers(0, 999), min_size=count, max_size=count))
    lengths = draw(st.lists(st.integers(1, 99), min_size=count, max_size=count))
    return [
        Span(start, start + length) for start, length in zip(sorted(cuts), lengths, strict=True)
    ]


@given(st.data(), st.integers(0, 8), shares)
def test_timing_scores_are_between_0_and_100(data: st.DataObject, count: int, share: float) -> None:
    reference, take = data.draw(spans(count)), data.draw(spans(count))
    assert 0 <= timing_score(reference, take, share) <= 100


@given(fits, fits, st.floats(0, 100))
def test_word_scores_are_between_0_and_100(
    reference: float | None, take: float | None, likeness: float
) -> None:
    assert 0 <= word_score(reference, take, likeness) <= 100


def test_a_higher_voice_costs_nothing() -> None:
    assert pitch_score(contour(), contour() * 1.8, 1.0) == pytest.approx(100)


def test_a_monotonous_voice_has_a_low_pitch_score() -> None:
    assert pitch_score(contour(), np.full(100, 150.0), 1.0) < 50


def test_an_inverted_contour_has_a_lower_pitch_score() -> None:
    assert pitch_score(contour(), 150**2 / contour(), 1.0) < 25


def test_a_whispered_take_has_a_pitch_score_of_0() -> None:
    assert pitch_score(contour(), np.full(100, np.nan), 1.0) == 0


def test_a_whispered_reference_requires_no_pitch() -> None:
    assert pitch_score(np.full(100, np.nan), contour(), 0.5) == 50


def test_a_uniformly_slower_take_loses_only_tempo() -> None:
    reference = [Span(0, 20), Span(30, 50)]
    assert timing_score(reference, [Span(0, 40), Span(60, 100)], 1.0) == pytest.approx(50)


def test_misplaced_pauses_lower_the_rhythm() -> None:
    even = [Span(0, 20), Span(20, 40), Span(40, 60)]
    halting = [Span(0, 12), Span(32, 46), Span(46, 60)]
    assert timing_score(even, halting, 1.0) < 40


def test_the_level_of_the_microphone_does_not_matter() -> None:
    loud = np.sin(np.arange(50) / 5) * 10 - 20
    assert energy_score(loud, loud - 15, 1.0) == pytest.approx(100)


def test_missing_words_lower_the_pitch_score() -> None:
    assert pitch_score(contour(), contour(), 0.25) == pytest.approx(25)


def test_the_fit_is_relative_to_that_of_the_reference() -> None:
    assert word_score(-5.0, -5.0, 100.0) == word_score(-2.0, -2.0, 100.0) == 100
    assert word_score(-3.0, -6.0, 50.0) == pytest.approx(0.8 * 50 + 0.2 * 50)
    assert word_score(None, -9.0, 40.0) == 40


def test_likeness_falls_with_the_distance() -> None:
    assert likeness_score(0.0, 6.0) == 100
    assert 0 < likeness_score(3.0, 6.0) < 100
    assert likeness_score(5.0, 6.0) == 0
    assert likeness_score(0.0, 0.0) == 0


def test_long_words_have_more_weight() -> None:
    assert pronunciation_score([100, 0], [30, 10]) == 75


def test_the_weights_of_the_overall_score_add_up_to_1() -> None:
    assert Scores(100, 100, 100, 100).overall == pytest.approx(100)
    assert Scores(100, 0, 0, 0).overall == pytest.approx(50)
