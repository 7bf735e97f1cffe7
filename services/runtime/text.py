"""Text that clients send. Its bounds are checked before any work that depends on its content.

Unicode normalisation sorts every run of combining marks, in a time that grows with the square
of the run's length: 400 KiB of marks take half a minute. So `nfc` normalises only text within
its bounds, and `text_problem` explains which bound a text exceeds.
"""

from __future__ import annotations

import unicodedata

MAX_MARKS_IN_A_ROW = 30
"""The limit of Unicode's Stream-Safe Text Format (UAX #15); written languages use at most 9."""
MAX_DECOMPOSED_LENGTH = 4
"""NFC composes at most this many code points into one."""


def nfc(text: str, limit: int) -> str:
    """The text in Unicode NFC, or the unchanged text if it is out of bounds.

    limit: the largest number of code points in NFC. The result can be longer: `text_problem`
    finds a problem in the result for every text that is out of bounds.
    """
    if len(text) > limit * MAX_DECOMPOSED_LENGTH or has_too_many_marks(text):
        return text
    return unicodedata.normalize("NFC", text)


def text_problem(text: str, limit: int) -> str | None:
    """How to correct a text that is out of bounds; None if it is within them.

    limit: the largest number of code points.
    """
    if len(text) > limit:
        return f"must have at most {limit} characters"
    if has_too_many_marks(text):
        return f"must have at most {MAX_MARKS_IN_A_ROW} combining marks in a row"
    if "\0" in text:
        return "must not contain NUL characters"
    return None


def has_too_many_marks(text: str) -> bool:
    """Whether more than MAX_MARKS_IN_A_ROW combining marks follow each other."""
    if len(text) <= MAX_MARKS_IN_A_ROW or text.isascii():
        return False
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MAX_MARKS_IN_A_ROW:
            return True
    return False


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis: at most `limit` code points, 1 or more."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
