"""What the analysis server says of a job.

It speaks the same language everywhere: in the webhook, in its answer to a
dispatch, and at its status URL.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass

from google.protobuf import json_format

from services.runtime.errors import FieldViolation, InvalidField
from sori.analysis.v1 import analysis_pb2 as pb

MAX_SENTENCE_LENGTH = 1000
MAX_VERSION_LENGTH = 64
ANALYSIS_FAILED = "ANALYSIS_FAILED"
REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

_LARGE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Results:
    """The job is done. result: a serialized google.protobuf.Struct."""

    result: bytes
    analyzer_version: str


@dataclass(frozen=True)
class Failure:
    """The job has no result. reason: UPPER_SNAKE_CASE; message: for the learner."""

    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """The job is under way. percent: 0 to 100; stage: what is done, for the learner."""

    percent: float
    stage: str


Report = Results | Failure | Progress


def report_of(message: pb.AnalysisReport) -> Report:
    """What a report means. Errors: InvalidField when it means nothing."""
    if message.HasField("analysis_results"):
        version = _clean(message.analyzer_version, MAX_VERSION_LENGTH)
        return Results(message.analysis_results.SerializeToString(), version)
    if message.status == "failed":
        reason = message.reason if REASON.fullmatch(message.reason) else ANALYSIS_FAILED
        return Failure(reason, _clean(message.error, MAX_SENTENCE_LENGTH))
    if message.status == "processing":
        if not math.isfinite(message.progress):
            raise InvalidField(FieldViolation("progress", "must be a number from 0 to 100"))
        return Progress(message.progress, _clean(message.message, MAX_SENTENCE_LENGTH))
    problem = "must be an object, or status must be 'failed' or 'processing'"
    raise InvalidField(FieldViolation("analysis_results", problem))


async def report_in(body: bytes) -> Report | None:
    """The report in a JSON body; None when there is none."""
    # Parsing takes a second for some MiB of numbers.
    parsed = await asyncio.to_thread(_parsed, body) if len(body) > _LARGE_BYTES else _parsed(body)
    if parsed is None:
        return None
    try:
        return report_of(parsed)
    except InvalidField:
        return None


def _parsed(body: bytes) -> pb.AnalysisReport | None:
    try:
        return json_format.Parse(body, pb.AnalysisReport(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        return None


def _clean(text: str, length: int) -> str:
    # PostgreSQL takes no NUL in a text.
    return text.replace("\0", "")[:length]
