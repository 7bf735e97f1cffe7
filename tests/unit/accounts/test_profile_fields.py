"""Validation of profiles."""

from __future__ import annotations

import pytest

from services.accounts.profile_fields import ProfileFields, profile_of
from services.runtime.errors import InvalidField
from services.runtime.language import Language

KO, EN = Language.KOREAN, Language.ENGLISH


def test_empty_fields_get_their_defaults() -> None:
    assert profile_of("", "", "", EN) == ProfileFields("", EN, "Asia/Seoul")


def test_a_name_is_stored_in_nfc_without_surrounding_spaces() -> None:
    decomposed = "\u1106\u1175\u11ab\u110c\u1175"
    assert profile_of(f" {decomposed} ", "ko", "Europe/Paris", EN) == ProfileFields(
        "민지", KO, "Europe/Paris"
    )


@pytest.mark.parametrize(
    ("name", "language", "time_zone", "field"),
    [
        ("a" * 101, "ko", "", "name"),
        ("a\nb", "ko", "", "name"),
        ("a\u202eb", "ko", "", "name"),
        ("a\0b", "ko", "", "name"),
        ("", "fr", "", "language"),
        ("", "KO", "", "language"),
        ("", "ko", "Mars/Olympus", "time_zone"),
        ("", "ko", "../../etc/passwd", "time_zone"),
        ("", "ko", "A" * 10_000, "time_zone"),
    ],
)
def test_invalid_fields_are_named(name: str, language: str, time_zone: str, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        profile_of(name, language, time_zone, KO, prefix="account.")
    assert [each.field for each in caught.value.violations] == [f"account.{field}"]
