"""Reading reports of the analysis server from JSON bodies.

A report arrives in the webhook, in the answer to a dispatch or at a status URL. All three
pass through `ReportParser`, so a result is stored only if every client can read it again.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from google.protobuf.struct_pb2 import Struct

from services.analysis.errors import ReportMalformed, ReportTooLarge, ResultUnreadable
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

MAX_LEVELS = 32
"""The deepest nesting of a result. protobuf reads messages at most 100 levels deep, and an
object takes three of them."""

MAX_STRUCT_BYTES = 16 * 1024 * 1024 - 128 * 1024
"""The largest result as protobuf. Together with the rest of an analysis, it fits into the
16 MiB that the gateway sends."""

MAX_PARSES = 2
"""How many large bodies a process parses at the same time."""

_LARGE_BYTES = 16 * 1024
_MAX_PATH_LENGTH = 200


class ReportParser:
    """Reads reports. It parses large bodies in threads, a few at a time."""

    def __init__(self, max_bytes: int) -> None:
        """Create a parser. max_bytes: the largest body, 1 or more."""
        self.max_bytes = max_bytes
        self._threads = asyncio.Semaphore(MAX_PARSES)

    async def parse(self, body: bytes) -> Report:
        """Read the report in a JSON body.

        Errors: ReportTooLarge; ReportMalformed when the body is not a JSON object;
        ResultUnreadable when clients could not read the result back; InvalidField when
        the body states neither results, nor a failure, nor progress.
        """
        if len(body) > self.max_bytes:
            raise ReportTooLarge(limit_bytes=self.max_bytes)
        if len(body) <= _LARGE_BYTES:
            return _report_in(body)
        # A MiB of numbers takes a second, which would block the event loop.
        async with self._threads:
            return await asyncio.to_thread(_report_in, body)


def _report_in(body: bytes) -> Report:
    fields = _object_in(body)
    results = _field(fields, "analysis_results", "analysisResults")
    if results is not None:
        version = _field(fields, "analyzer_version", "analyzerVersion")
        return Results(_struct_of(results), _text(version, MAX_VERSION_LENGTH))
    status = fields.get("status")
    if status == "failed":
        reason = _text(fields.get("reason"), MAX_SENTENCE_LENGTH)
        reason = reason if REASON.fullmatch(reason) else ANALYSIS_FAILED
        return Failure(reason, _text(fields.get("error"), MAX_SENTENCE_LENGTH))
    if status == "processing":
        stage = _text(fields.get("stage"), MAX_SENTENCE_LENGTH)
        if stage not in STAGES:
            stage = _text(fields.get("message"), MAX_SENTENCE_LENGTH)
        return Progress(_percent(fields.get("progress")), stage)
    problem = "must be an object, or status must be 'failed' or 'processing'"
    raise InvalidField(FieldViolation("analysis_results", problem))


def _object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Accepts what `json.loads` accepts, and bytes that are not UTF-8, so that a result with a
    defect is recognised as a result.
    """
    try:
        # float: an integer of any length is a number or infinity, never an error.
        fields = json.loads(body.decode(errors="surrogateescape"), parse_int=float)
    except RecursionError:
        raise ResultUnreadable(problem=_TOO_DEEP, path="the body") from None
    except ValueError as error:
        raise ReportMalformed(problem=str(error)) from None
    if not isinstance(fields, dict):
        raise ReportMalformed(problem="it must be an object")
    return fields


def _field(fields: dict[str, Any], *names: str) -> Any:
    """The value of the first of the names that is present; None without one."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(value: Any, length: int) -> str:
    return cleaned(value, length) if isinstance(value, str) else ""


def _percent(value: Any) -> float:
    try:
        percent = float(0 if value is None else value)
    except (TypeError, ValueError):
        percent = math.nan
    if not math.isfinite(percent):
        raise InvalidField(FieldViolation("progress", "must be a number from 0 to 100"))
    return percent


def _struct_of(results: Any) -> bytes:
    """A result as a serialized google.protobuf.Struct. Errors: InvalidField, ResultUnreadable."""
    if not isinstance(results, dict):
        raise InvalidField(FieldViolation("analysis_results", "must be an object"))
    path = ["analysis_results"]
    if problem := _problem_of(results, MAX_LEVELS, path):
        raise ResultUnreadable(problem=problem, path=_path_text(path))
    struct = Struct()
    struct.update(results)
    stored = struct.SerializeToString()
    if len(stored) > MAX_STRUCT_BYTES:
        problem = f"the result must take at most {MAX_STRUCT_BYTES} bytes as protobuf"
        raise ResultUnreadable(problem=problem, path=_path_text(path))
    return stored


_TOO_DEEP = f"objects and arrays must nest at most {MAX_LEVELS} levels deep"


def _problem_of(value: Any, levels: int, path: list[str]) -> str:
    """Why a value could not be read back; empty when it can be.

    levels: how deep it may nest. path: the path to the value; extended to the problem.
    """
    if isinstance(value, float):
        return "" if math.isfinite(value) else "numbers must be finite doubles"
    if isinstance(value, str):
        return "" if _is_unicode(value) else "text must be valid Unicode"
    if not isinstance(value, dict | list):
        return ""
    if not levels:
        return _TOO_DEEP
    if isinstance(value, dict) and not all(map(_is_unicode, value)):
        return "names must be valid Unicode"
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        path.append(f"[{key}]" if isinstance(key, int) else f".{key}")
        if problem := _problem_of(child, levels - 1, path):
            return problem
        path.pop()
    return ""


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which UTF-8 cannot express."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path_text(path: list[str]) -> str:
    return cleaned("".join(path), _MAX_PATH_LENGTH)
