"""Reports of the analysis server: results, a failure or progress. No I/O.

A report has the same form everywhere: in the webhook, in the answer to a dispatch and
at the status URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""A failure reason: UPPER_SNAKE_CASE of at most 64 characters."""

ANALYSIS_FAILED = "ANALYSIS_FAILED"
"""The reason of a failure that is reported without a valid one."""

STAGES = frozenset({"WAITING", "RECORDING_FETCHED", "ANALYSING"})
"""The stages for which the product has sentences."""

MAX_SENTENCE_LENGTH = 1000
MAX_VERSION_LENGTH = 64


@dataclass(frozen=True)
class Results:
    """The analysis is complete.

    result: a serialized google.protobuf.Struct. analyzer_version: may be empty.
    """

    result: bytes
    analyzer_version: str


@dataclass(frozen=True)
class Failure:
    """The analysis failed. reason: matches REASON; message: for the learner, may be empty."""

    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """The analysis continues.

    percent: any finite number. stage: one of STAGES, or a sentence for the learner, which may be
    empty.
    """

    percent: float
    stage: str


Report = Results | Failure | Progress


def cleaned(text: str, length: int) -> str:
    """The first `length` characters that PostgreSQL can store: no NUL, no lone surrogates."""
    return text.replace("\0", "")[:length].encode(errors="replace").decode()
