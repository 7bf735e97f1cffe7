"""Text is bounded before it is normalised, and ordinary text is normalised as Unicode says."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.text import has_too_many_marks, nfc, shortened, text_problem

ONE_MIB_OF_MARKS = "a" + "\u0315\u0300" * (256 * 1024)
"""`unicodedata.normalize` takes minutes for it."""

ORDINARY = st.text(max_size=60) | st.text("가각힣각 a\u0300\u0315é\u0344\u0958ﬁ", max_size=60)
BOUNDS = st.integers(0, 40)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@given(ORDINARY.filter(lambda text: not has_too_many_marks(decomposed(text))))
def test_ordinary_text_is_normalised_to_nfc(text: str) -> None:
    limit = len(composed(text))
    assert nfc(text, limit) == composed(text)
    assert nfc(decomposed(text), limit) == composed(text)


@given(ORDINARY | st.text("a\u0300", min_size=25, max_size=80), BOUNDS)
def test_a_text_is_either_normalised_or_has_a_problem(text: str, limit: int) -> None:
    result = nfc(text, limit)
    assert result == composed(text) or text_problem(result, limit)


@given(ORDINARY, BOUNDS)
def test_a_problem_means_that_a_bound_is_exceeded(text: str, limit: int) -> None:
    is_valid = len(text) <= limit and not has_too_many_marks(text) and "\0" not in text
    assert (text_problem(text, limit) is None) == is_valid


@pytest.mark.timeout(20)
def test_a_long_text_is_not_normalised() -> None:
    assert nfc(ONE_MIB_OF_MARKS, 200) == ONE_MIB_OF_MARKS
    assert text_problem(ONE_MIB_OF_MARKS, 200) == "must have at most 200 characters"


def test_combining_marks_are_counted_per_base_character() -> None:
    within = ("a" + "\u0300" * 30) * 3
    assert text_problem(within, 200) is None
    assert text_problem(within + "\u0300", 200) == "must have at most 30 combining marks in a row"


@given(st.text(max_size=30), st.integers(1, 40))
def test_a_shortened_text_shows_that_something_is_missing(text: str, limit: int) -> None:
    result = shortened(text, limit)
    assert len(result) <= limit
    assert result == text or (result.endswith("…") and text.startswith(result[:-1]))
