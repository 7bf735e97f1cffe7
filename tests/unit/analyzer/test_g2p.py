from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.g2p import dictionary_words, guessed_phones, is_english


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cold-hearted, 21!", ["cold", "hearted", "twenty", "one"]),
        ("Don\u2019t", ["don't"]),
        ("'tis", ["tis"]),
        ("café", ["cafe"]),
        ("1,250", ["one", "thousand", "two", "hundred", "fifty"]),
        ("007", ["zero", "zero", "seven"]),
        ("R&B", ["r", "and", "b"]),
        ("…", []),
        ("안녕", []),
    ],
)
def test_words_as_the_dictionary_spells_them(text: str, words: list[str]) -> None:
    assert dictionary_words(text) == words


@given(st.text() | st.text("abcxyz'é1&% -", min_size=1))
def test_every_dictionary_word_has_phones(text: str) -> None:
    for word in dictionary_words(text):
        assert guessed_phones(word)


def test_a_pronunciation_is_guessed_by_letters() -> None:
    assert guessed_phones("knightley") == "K N AY T L EH IY"


@pytest.mark.parametrize(
    ("text", "language", "english"),
    [
        ("hello", None, True),
        ("hello", "", True),
        ("hello", "en-GB", True),
        ("hello", "EN_us", True),
        ("bonjour", "fr", False),
        ("안녕 hello", None, False),
        ("42", None, False),
    ],
)
def test_english_is_detected_by_code_or_letters(
    text: str, language: str | None, english: bool
) -> None:
    assert is_english(text, language) is english
