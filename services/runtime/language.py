"""The language of messages for learners: Korean, or English on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """The product's languages, as BCP-47 codes."""

    KOREAN = "ko"
    ENGLISH = "en"


@dataclass(frozen=True)
class LearnerMessage:
    """A message for the learner in every language of the product; may be a template."""

    korean: str
    english: str

    def text(self, language: Language) -> str:
        """The message in one language."""
        return self.korean if language is Language.KOREAN else self.english

    def filled_with(self, values: Mapping[str, object]) -> LearnerMessage:
        """The message with the placeholders of its templates replaced."""
        return LearnerMessage(self.korean.format(**values), self.english.format(**values))


DEFAULT_LANGUAGE = Language.KOREAN
MAX_ENTRIES = 20
"""Further entries of an `Accept-Language` header are ignored."""


def preferred_language(accept_language: str | None) -> Language:
    """The language that an `Accept-Language` header prefers (RFC 9110, 12.5.4).

    The supported language with the greatest weight wins; of equal weights, the first. The
    default is Korean, also for a missing or malformed header.
    """
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for entry in (accept_language or "").split(",", MAX_ENTRIES)[:MAX_ENTRIES]:
        tag, _, parameter = entry.partition(";")
        primary = tag.strip().partition("-")[0].lower()
        weight = _weight(parameter)
        if primary in set(Language) and weight > best_weight:
            best, best_weight = Language(primary), weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
