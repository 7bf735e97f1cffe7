"""Messages are Korean, or English if `Accept-Language` prefers it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.language import Language, preferred_language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, Language.KOREAN),
        ("", Language.KOREAN),
        ("fr", Language.KOREAN),
        ("en", Language.ENGLISH),
        ("EN-us,en;q=0.9", Language.ENGLISH),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language.KOREAN),
        ("fr, en;q=0.5", Language.ENGLISH),
        ("ko;q=0.4, en;q=0.5", Language.ENGLISH),
        ("en;q=0", Language.KOREAN),
        ("en;q=oops", Language.KOREAN),
        ("en;q=nan", Language.KOREAN),
    ],
)
def test_the_greatest_weight_wins(header: str | None, language: Language) -> None:
    assert preferred_language(header) is language


@given(st.text() | st.lists(st.text("enkofr-*;q=0.19 ")).map(",".join))
def test_any_header_gives_a_language(header: str) -> None:
    assert preferred_language(header) in Language
