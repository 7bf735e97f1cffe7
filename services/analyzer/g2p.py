"""Grapheme to phoneme (G2P): how written English is pronounced."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = [
    "zero",
    "ten",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
]
_SCALES = ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred"))
_LONGEST_NUMBER = 9
_SIGNS = {"&": " and ", "%": " percent ", "$": " dollars ", "+": " plus ", "@": " at "}

_LETTER_PHONES = {
    "tion": "SH AH N", "igh": "AY", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K",
    "ng": "NG", "qu": "K W", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW",
    "ai": "EY", "ay": "EY", "oy": "OY", "er": "ER", "wh": "W", "a": "AE", "b": "B", "c": "K",
    "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L",
    "m": "M", "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH",
    "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_LETTERS = re.compile("|".join(sorted(_LETTER_PHONES, key=len, reverse=True)))


def is_english(text: str, language: str | None) -> bool:
    """Whether the English acoustic model can align the text.

    language: the BCP-47 code of the text. If it is missing or empty, a text whose letters are
        all Latin counts as English.
    """
    if language:
        return language.lower().replace("_", "-").split("-")[0] == "en"
    letters = [letter for letter in text if letter.isalpha()]
    return bool(letters) and all("LATIN" in unicodedata.name(letter, "") for letter in letters)


def dictionary_words(text: str) -> list[str]:
    """The words of a text as the pronunciation dictionary spells them.

    Lower case, without accents, without punctuation except apostrophes within a word, with
    numbers as words and compounds split: "Cold-hearted, 21!" gives cold hearted twenty one.
    """
    plain = unicodedata.normalize("NFKD", text).lower().replace("\u2019", "'")
    for sign, name in _SIGNS.items():
        plain = plain.replace(sign, name)
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    plain = re.sub(r"\d+", lambda number: f" {_number_in_words(number[0])} ", plain)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[a-z]+(?:'[a-z]+)*", plain)


def guessed_phones(word: str) -> str:
    """An approximate pronunciation, letter by letter, for a word that no dictionary has.

    It is good enough to find the word in a recording, but not to judge its pronunciation.
    """
    phones = " ".join(_LETTER_PHONES[letters] for letters in _LETTERS.findall(word)).split()
    return " ".join(phones[:1] + [b for a, b in pairwise(phones) if a != b])


def _number_in_words(digits: str) -> str:
    if len(digits) > _LONGEST_NUMBER or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_UNITS[int(digit)] for digit in digits)
    return _cardinal(int(digits))


def _cardinal(number: int) -> str:
    for scale, name in _SCALES:
        if number >= scale:
            count, rest = divmod(number, scale)
            return f"{_cardinal(count)} {name}" + (f" {_cardinal(rest)}" if rest else "")
    if number < len(_UNITS):
        return _UNITS[number]
    tens, unit = divmod(number, 10)
    return _TENS[tens] + (f" {_UNITS[unit]}" if unit else "")
