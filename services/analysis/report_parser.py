"""Reading reports of the analysis server from protobuf messages and JSON bodies."""

from __future__ import annotations

import asyncio
import math

from google.protobuf import json_format

from services.analysis.reports import (
    ANALYSIS_FAILED,
    MAX_SENTENCE_LENGTH,
    MAX_VERSION_LENGTH,
    REASON,
    STAGES,
    Failure,
    Progress,
    Report,
    Results,
    cleaned,
)
from services.runtime.errors import FieldViolation, InvalidField
from sori.analysis.v1 import analysis_pb2 as pb

_LARGE_BYTES = 64 * 1024


def report_from(message: pb.AnalysisReport) -> Report:
    """The report in a message.

    Errors: InvalidField when it states neither results, nor a failure, nor progress.
    """
    if message.HasField("analysis_results"):
        version = cleaned(message.analyzer_version, MAX_VERSION_LENGTH)
        return Results(message.analysis_results.SerializeToString(), version)
    if message.status == "failed":
        reason = message.reason if REASON.fullmatch(message.reason) else ANALYSIS_FAILED
        return Failure(reason, cleaned(message.error, MAX_SENTENCE_LENGTH))
    if message.status == "processing":
        if not math.isfinite(message.progress):
            raise InvalidField(FieldViolation("progress", "must be a number from 0 to 100"))
        is_known = message.stage in STAGES
        sentence = cleaned(message.message, MAX_SENTENCE_LENGTH)
        return Progress(message.progress, message.stage if is_known else sentence)
    problem = "must be an object, or status must be 'failed' or 'processing'"
    raise InvalidField(FieldViolation("analysis_results", problem))


async def report_in(body: bytes) -> Report | None:
    """The report in a JSON body; None when the body contains no report."""
    # Parsing a few MiB of numbers takes a second, so it must not block the event loop.
    parsed = await asyncio.to_thread(_parsed, body) if len(body) > _LARGE_BYTES else _parsed(body)
    if parsed is None:
        return None
    try:
        return report_from(parsed)
    except InvalidField:
        return None


def _parsed(body: bytes) -> pb.AnalysisReport | None:
    try:
        return json_format.Parse(body, pb.AnalysisReport(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        return None
