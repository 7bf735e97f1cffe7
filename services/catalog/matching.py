"""Highlights of a search: which characters of a name a query matches. Pure.

Folds text as the SQL function `fold` does: Hangul is decomposed into letters, and case and
accents are ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

MAX_COMPARISONS = 5_000
"""The largest product of two lengths for which a name and a query with a typo are compared."""

Ranges = tuple[tuple[int, int], ...]

_INITIALS = range(0x1100, 0x1113)
_JOINED_INITIALS = {
    "ㄳ": "ㄱㅅ",
    "ㄵ": "ㄴㅈ",
    "ㄶ": "ㄴㅎ",
    "ㄺ": "ㄹㄱ",
    "ㄻ": "ㄹㅁ",
    "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ",
    "ㄾ": "ㄹㅌ",
    "ㄿ": "ㄹㅍ",
    "ㅀ": "ㄹㅎ",
    "ㅄ": "ㅂㅅ",
}
"""Consonants that keyboards of Windows and macOS join as they are typed one after the other."""
_PARTS = str.maketrans(_JOINED_INITIALS)
_ACCENTS = range(0x0300, 0x0370)


def highlights(name: str, query: str) -> Ranges:
    """The ranges of characters of `name` that `query` matches, in order and not adjacent.

    Empty if `query` is not in `name` and the two are too long to be compared letter by letter.
    """
    letters, positions = _fold(name)
    pattern = _fold(query)[0].strip()
    start = letters.find(pattern)
    if start < 0 and is_initials(parted := with_parted_initials(query)):
        letters, positions = _initials(name)
        pattern, _ = _initials(parted)
        start = letters.find(pattern)
    if start >= 0:
        return _ranges(positions[start : start + len(pattern)])
    if len(letters) * len(pattern) > MAX_COMPARISONS:
        return ()
    blocks = SequenceMatcher(None, letters, pattern, autojunk=False).get_matching_blocks()
    return _ranges([each for block in blocks for each in positions[block.a : block.a + block.size]])


def with_parted_initials(query: str) -> str:
    """The query with the two parts of each consonant that a keyboard joined: "ㄱㅅ" for "ㄳ"."""
    return query.translate(_PARTS)


def is_initials(query: str) -> bool:
    """Whether a query consists of Korean initial consonants only."""
    letters = unicodedata.normalize("NFKD", query).replace(" ", "")
    return bool(letters) and all(ord(letter) in _INITIALS for letter in letters)


def has_letters(query: str) -> bool:
    """Whether a query contains letters or digits, which a trigram index can find."""
    return any(character.isalnum() for character in query)


def has_run_of_letters(query: str, length: int) -> bool:
    """Whether a query has `length` letters or digits in a row.

    A Hangul syllable counts as its two or three letters.
    """
    return re.search(rf"[^\W_]{{{length}}}", _fold(query)[0]) is not None


def _fold(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each folded character its position in `text`."""
    folded: list[str] = []
    positions: list[int] = []
    for position, character in enumerate(text):
        for letter in unicodedata.normalize("NFKD", character).lower():
            if ord(letter) not in _ACCENTS:
                folded.append(letter)
                positions.append(position)
    return "".join(folded), positions


def _initials(text: str) -> tuple[str, list[int]]:
    folded, positions = _fold(text)
    indexes = [index for index, letter in enumerate(folded) if ord(letter) in _INITIALS]
    return "".join(folded[index] for index in indexes), [positions[index] for index in indexes]


def _ranges(positions: Sequence[int]) -> Ranges:
    """Join ascending positions into ranges."""
    ranges: list[tuple[int, int]] = []
    for position in positions:
        if ranges and position <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], position + 1))
        else:
            ranges.append((position, position + 1))
    return tuple(ranges)
