"""The policy for new passwords, after NIST SP 800-63B, section 5.1.1.2. Pure.

A password has 8 to 256 characters of any kind. The policy refuses common passwords, repetitions,
sequences, and passwords that are little more than the e-mail address or the name of the product.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from services.accounts.email_addresses import domain_of, local_part_of
from services.runtime.language import LearnerMessage
from services.runtime.text import MAX_DECOMPOSED_LENGTH, has_too_many_marks, text_problem

MIN_LENGTH = 8
MAX_LENGTH = 256

_PRODUCT = ("sori", "소리")
_MIN_CONTEXT_LENGTH = 4
"""Shorter parts of an address, such as "kim", are in many passwords by chance."""
_MIN_REMAINDER = 6
"""How many characters a password needs besides the address and the name of the product."""
_MIN_RUNS = 4
"""How many runs a password needs: "abc123" has two, "qwerty!" too."""
_MAX_UNIT = 4
"""The longest unit whose repetition is refused: "abcdabcd"."""
_MAX_AFFIX = 4
"""A common password is refused with up to this many digits and symbols around it."""

_ROWS = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1234567890",
    "!@#$%^&*()",
    "가나다라마바사아자차카타파하",
)
_NEIGHBOURS = frozenset(
    pair
    for row in _ROWS
    for left, right in pairwise(row)
    for pair in ((left, right), (right, left))
)
_LEET = (
    str.maketrans("013457@$!", "oieastasi"),
    str.maketrans("013457@$!", "oleastasl"),
)


@dataclass(frozen=True)
class Problem:
    """Why a password is refused. name: in UPPER_SNAKE_CASE. advice: what to do."""

    name: str
    advice: LearnerMessage


TOO_SHORT = Problem(
    "TOO_SHORT",
    LearnerMessage(
        f"비밀번호는 {MIN_LENGTH}자 이상으로 정해 주세요.",
        f"Use at least {MIN_LENGTH} characters.",
    ),
)
TOO_LONG = Problem(
    "TOO_LONG",
    LearnerMessage(
        f"비밀번호는 {MAX_LENGTH}자 이하로 정해 주세요.",
        f"Use at most {MAX_LENGTH} characters.",
    ),
)
UNREADABLE = Problem(
    "UNREADABLE",
    LearnerMessage(
        "비밀번호에 쓸 수 없는 글자가 있어요. 키보드로 입력할 수 있는 글자만 써 주세요.",
        "Use only characters that a keyboard can type.",
    ),
)
COMMON = Problem(
    "COMMON",
    LearnerMessage(
        "많이 쓰이는 비밀번호라 쉽게 뚫릴 수 있어요. 서로 관련 없는 단어를 여러 개 이어 보세요.",
        "Many people use this password, so it is easy to guess. Combine several unrelated words.",
    ),
)
REPETITIVE = Problem(
    "REPETITIVE",
    LearnerMessage(
        "같은 글자나 이어지는 글자가 너무 많아요. 서로 관련 없는 단어를 여러 개 이어 보세요.",
        "It is mostly a repetition or a sequence. Combine several unrelated words.",
    ),
)
PERSONAL = Problem(
    "PERSONAL",
    LearnerMessage(
        "비밀번호에 이메일 주소나 서비스 이름을 쓰지 말아 주세요.",
        "Do not use your e-mail address or the name of this service in it.",
    ),
)


def normalised(password: str) -> str:
    """The password in NFKC, so that all keyboards produce the same one.

    Returns a password that is out of bounds unchanged; `readable` and `problem_of` refuse it.
    """
    if len(password) > MAX_LENGTH * MAX_DECOMPOSED_LENGTH or has_too_many_marks(password):
        return password
    return unicodedata.normalize("NFKC", password)


def is_readable(password: str) -> bool:
    """Whether a normalised password is within the bounds that hold for every stored one."""
    return text_problem(password, MAX_LENGTH) is None


def problem_of(password: str, email: str) -> Problem | None:
    """Why a normalised password is refused; None for a good one. email: the account's address."""
    if len(password) < MIN_LENGTH:
        return TOO_SHORT
    if len(password) > MAX_LENGTH:
        return TOO_LONG
    if not is_readable(password):
        return UNREADABLE
    folded = password.casefold()
    if _is_common(folded):
        return COMMON
    if _is_repetition(folded) or _runs(folded) < _MIN_RUNS:
        return REPETITIVE
    return PERSONAL if _is_personal(folded, email) else None


@cache
def _common_passwords() -> frozenset[str]:
    text = files("services.accounts").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _is_common(folded: str) -> bool:
    common = _common_passwords()
    return any(each in common for each in _variants(folded))


def _variants(folded: str) -> Iterator[str]:
    """The password without up to _MAX_AFFIX digits and symbols around it, also without leet."""
    for leading in range(_MAX_AFFIX + 1):
        for trailing in range(_MAX_AFFIX + 1 - leading):
            end = len(folded) - trailing
            affixes = folded[:leading] + folded[end:]
            if not any(map(str.isalpha, affixes)):
                stem = folded[leading:end]
                yield from (stem, *(stem.translate(table) for table in _LEET))


def _is_repetition(folded: str) -> bool:
    """Whether the password repeats a unit of at most _MAX_UNIT characters to its end."""
    return any(folded[unit:] == folded[:-unit] for unit in range(1, _MAX_UNIT + 1))


def _runs(folded: str) -> int:
    """The number of runs of equal or neighbouring characters that the password consists of."""
    return 1 + sum(not _is_run(left, right) for left, right in pairwise(folded))


def _is_run(left: str, right: str) -> bool:
    return abs(ord(left) - ord(right)) <= 1 or (left, right) in _NEIGHBOURS


def _is_personal(folded: str, email: str) -> bool:
    labels = domain_of(email).split(".")[:-1]
    parts = [email, local_part_of(email), *re.split(r"[._+-]", local_part_of(email)), *labels]
    words = {part for part in parts if len(part) >= _MIN_CONTEXT_LENGTH} | {*_PRODUCT}
    remainder = folded
    for word in sorted(words, key=len, reverse=True):
        remainder = remainder.replace(word, "")
    return len(remainder) < _MIN_REMAINDER
