"""The policy for new passwords."""

from __future__ import annotations

import secrets
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.password_policy import (
    COMMON,
    PERSONAL,
    REPETITIVE,
    TOO_LONG,
    TOO_SHORT,
    UNREADABLE,
    Problem,
    is_readable,
    normalised,
    problem_of,
)

EMAIL = "minji.kim@studio.example.com"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "gkrtmqdmf-wkfgo",
        "푸른 고래가 춤춘다",
        "xK9#mq2Lw",
        "tidal-lamp-orbit",
        "minji-likes-old-jazz",
        "🦊🎧🌊🍉🪁🧩🚲🏔️",
        " leading and trailing ",
    ],
)
def test_good_passwords_are_accepted(password: str) -> None:
    assert problem_of(normalised(password), EMAIL) is None


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("xK9#mq2", TOO_SHORT),
        ("한글일곱글자임", TOO_SHORT),
        ("x7" * 129, TOO_LONG),
        ("nul\0character", UNREADABLE),
        ("password", COMMON),
        ("Password1!", COMMON),
        ("P@ssw0rd", COMMON),
        ("p4$$w0rd99", COMMON),
        ("!!sunshine1", COMMON),
        ("iloveyou2024", COMMON),
        ("1q2w3e4r", COMMON),
        ("qlalfqjsgh1!", COMMON),
        ("비밀번호1234", COMMON),
        ("ＰＡＳＳＷＯＲＤ", COMMON),
        ("zzzzzzzzzz", REPETITIVE),
        ("wow!wow!wow!", REPETITIVE),
        ("23456789", REPETITIVE),
        ("hgfedcba", REPETITIVE),
        ("qwertz12345", REPETITIVE),
        ("가나다라마바사아", REPETITIVE),
        ("mno456789", REPETITIVE),
        (EMAIL, PERSONAL),
        ("minji.kim77", PERSONAL),
        ("Studio!!2x", PERSONAL),
        ("sori9x4k", PERSONAL),
        ("소리사랑12소리", PERSONAL),
    ],
)
def test_guessable_passwords_are_refused(password: str, problem: Problem) -> None:
    assert problem_of(normalised(password), EMAIL) is problem


@pytest.mark.parametrize("problem", [TOO_SHORT, TOO_LONG, UNREADABLE, COMMON, REPETITIVE, PERSONAL])
def test_every_refusal_says_what_to_do_in_both_languages(problem: Problem) -> None:
    assert problem.advice.korean.endswith(("주세요.", "보세요."))
    assert problem.advice.english.endswith(".")


@given(st.text(max_size=300))
def test_every_keyboard_produces_the_same_password(password: str) -> None:
    decomposed = unicodedata.normalize("NFD", password)
    if not is_readable(normalised(password)) or not is_readable(normalised(decomposed)):
        return
    assert normalised(decomposed) == normalised(password)


@given(st.text(), st.emails())
def test_every_text_has_an_answer(password: str, email: str) -> None:
    problem_of(normalised(password), email)


def test_random_passwords_are_accepted() -> None:
    alphabet = string.ascii_letters + string.digits
    generated = ["".join(secrets.choice(alphabet) for _ in range(16)) for _ in range(2_000)]
    assert [each for each in generated if problem_of(each, EMAIL)] == []


def test_a_hostile_text_is_not_normalised() -> None:
    marks = "a" + "\u0301" * 100_000
    assert normalised(marks) == marks
    assert problem_of(marks, EMAIL) is TOO_LONG
