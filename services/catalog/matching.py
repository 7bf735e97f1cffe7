"""Which characters of a name a query matches, to be highlighted. Pure.

The same folding as the SQL function `fold`: letters of Hangul one by one, without
case and accents.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

Ranges = tuple[tuple[int, int], ...]

_INITIALS = range(0x1100, 0x1113)
_ACCENTS = range(0x0300, 0x0370)


def highlights(name: str, query: str) -> Ranges:
    """The ranges of characters of `name` that `query` matches, in order, joined."""
    if is_initials(query):
        initials, places = _initials(name)
        wanted, _ = _initials(query)
    else:
        initials, places = _folded(name)
        wanted = _folded(query)[0].strip()
    found = initials.find(wanted)
    if found >= 0:
        return _ranges(places[found : found + len(wanted)])
    blocks = SequenceMatcher(None, initials, wanted, autojunk=False).get_matching_blocks()
    return _ranges([place for block in blocks for place in places[block.a : block.a + block.size]])


def is_initials(query: str) -> bool:
    """Whether a query is of Korean initial consonants only."""
    letters = unicodedata.normalize("NFKD", query).replace(" ", "")
    return bool(letters) and all(ord(letter) in _INITIALS for letter in letters)


def has_letters(query: str) -> bool:
    """Whether there is anything in a query that can be looked up in an index of letters."""
    return any(character.isalnum() for character in query)


def has_run_of_letters(query: str, length: int) -> bool:
    """Whether so many letters or digits stand together; a syllable of Hangul has two or three."""
    return re.search(rf"[^\W_]{{{length}}}", _folded(query)[0]) is not None


def _folded(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the place it comes from."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for letter in unicodedata.normalize("NFKD", character).lower():
            if ord(letter) not in _ACCENTS:
                folded.append(letter)
                places.append(place)
    return "".join(folded), places


def _initials(text: str) -> tuple[str, list[int]]:
    folded, places = _folded(text)
    kept = [index for index, letter in enumerate(folded) if ord(letter) in _INITIALS]
    return "".join(folded[index] for index in kept), [places[index] for index in kept]


def _ranges(places: Sequence[int]) -> Ranges:
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and place <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], place + 1))
        else:
            ranges.append((place, place + 1))
    return tuple(ranges)
