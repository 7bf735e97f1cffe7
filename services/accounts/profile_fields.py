"""The fields of a profile that learners set: their bounds and defaults. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from zoneinfo import ZoneInfo

from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.language import Language
from services.runtime.text import nfc, text_problem

MAX_NAME_LENGTH = 100
DEFAULT_TIME_ZONE = "Asia/Seoul"

_TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9][A-Za-z0-9_+-]{0,30}){0,2}")


@dataclass(frozen=True)
class ProfileFields:
    """The part of an account that its owner can change.

    name: in NFC. language: of mails. time_zone: a name of the IANA database.
    """

    name: str
    language: Language
    time_zone: str


def profile_of(
    name: str, language: str, time_zone: str, default_language: Language, prefix: str = ""
) -> ProfileFields:
    """The fields of a request; empty ones get their defaults.

    prefix: of the fields' names in errors, such as "account.". Errors: InvalidField.
    """
    name = nfc(name, MAX_NAME_LENGTH).strip()
    time_zone = time_zone or DEFAULT_TIME_ZONE
    if violations := [
        FieldViolation(prefix + field, problem)
        for field, problem in _problems(name, language, time_zone)
    ]:
        raise InvalidField(*violations)
    return ProfileFields(name, Language(language) if language else default_language, time_zone)


def _problems(name: str, language: str, time_zone: str) -> Iterator[tuple[str, str]]:
    if problem := text_problem(name, MAX_NAME_LENGTH):
        yield "name", problem
    elif any(unicodedata.category(character).startswith("C") for character in name):
        yield "name", "must not contain control characters"
    if language and language not in set(Language):
        yield "language", 'must be "ko" or "en"'
    if not _TIME_ZONE.fullmatch(time_zone) or not _is_time_zone(time_zone):
        yield "time_zone", 'must be a name of the IANA database, such as "Asia/Seoul"'


@cache
def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True
