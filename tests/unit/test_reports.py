"""Reports mean the same wherever they arrive, and no body breaks the parser."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from services.analysis.analyzer_client import MAX_RETRY_AFTER_SECONDS, retry_after
from services.analysis.errors import ReportMalformed, ReportTooLarge, ResultUnreadable
from services.analysis.report_parser import ReportParser
from services.analysis.reports import REASON, Failure, Progress, Report, Results
from services.runtime.errors import InvalidField

MAX_BYTES = 1024**2
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATE = format_datetime(NOW, usegmt=True)
"""The clock of the analysis server, which may differ from this host's by any time."""

json_values = st.sampled_from(
    [None, True, -1, 1e300, math.nan, 10**400, "", "x" * 2000, "A\0B", "\ud800", [1], {"a": [1]}]
) | st.recursive(st.just({"a": "\ud800"}), lambda inner: st.builds(lambda x: {"a": [x]}, inner))
json_reports = st.fixed_dictionaries(
    {},
    optional={
        "analysis_results": json_values,
        "status": st.sampled_from(["failed", "processing", "done"]) | json_values,
        "reason": json_values,
        "error": json_values,
        "progress": json_values,
        "message": json_values,
        "analyzer_version": json_values,
    },
)


def report_in(body: bytes | dict[str, Any]) -> Report:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asyncio.run(ReportParser(MAX_BYTES).parse(text))


def test_a_report_of_results_has_their_version() -> None:
    report = report_in({"analysis_results": {"score": 1}, "analyzer_version": "2"})
    assert isinstance(report, Results)
    assert report.analyzer_version == "2"
    assert Struct.FromString(report.result)["score"] == 1


def test_fields_may_have_the_names_of_protobuf_json() -> None:
    report = report_in({"analysisResults": {}, "analyzerVersion": "2"})
    assert report == Results(b"", "2")


def test_a_failure_has_a_reason_and_a_sentence() -> None:
    body = {"status": "failed", "reason": "SILENT_AUDIO", "error": "no voice"}
    assert report_in(body) == Failure("SILENT_AUDIO", "no voice")


@pytest.mark.parametrize("reason", ["", "lower", "TOO_LONG" * 10, "WITH SPACE", 5, None])
def test_an_invalid_reason_is_replaced(reason: object) -> None:
    report = report_in({"status": "failed", "reason": reason, "error": "a\0b"})
    assert report == Failure("ANALYSIS_FAILED", "ab")


def test_a_sentence_that_is_not_unicode_does_not_hide_the_failure() -> None:
    assert report_in(b'{"status": "failed", "error": "\xff\\ud800!"}') == Failure(
        "ANALYSIS_FAILED", "??!"
    )


def test_progress_has_a_percentage_and_a_stage() -> None:
    body = {"status": "processing", "progress": 50, "message": "half"}
    assert report_in(body) == Progress(50, "half")


@pytest.mark.parametrize(
    "body", [{}, {"status": "done"}, {"progress": 5}, {"analysis_results": [1]}]
)
def test_a_body_without_a_report_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        report_in(body)


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"5", b'{"analysis_results": {', b"\xff"])
def test_a_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(ReportMalformed):
        report_in(body)


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(ReportTooLarge):
        report_in(b" " * (MAX_BYTES + 1))


def test_the_error_names_the_place_in_the_result() -> None:
    body = b'{"analysis_results": {"words": [{"score": 1}, {"score": NaN}]}}'
    with pytest.raises(ResultUnreadable) as refused:
        report_in(body)
    assert refused.value.metadata["path"] == "analysis_results.words[1].score"


def test_the_error_of_a_result_with_long_names_is_short() -> None:
    with pytest.raises(ResultUnreadable) as refused:
        report_in(b'{"analysis_results": {"%s": NaN}}' % (b"a\\u0000" * 100_000))
    assert len(str(refused.value)) < 400
    assert "\0" not in str(refused.value)


@pytest.mark.parametrize("progress", ["NaN", "many", [], 10**400])
def test_progress_that_is_not_a_number_is_refused(progress: object) -> None:
    with pytest.raises(InvalidField):
        report_in({"status": "processing", "progress": progress})


@given(st.binary(max_size=200) | json_reports.map(lambda body: json.dumps(body).encode()))
def test_any_body_is_a_valid_report_or_refused(body: bytes) -> None:
    try:
        report = report_in(body)
    except (InvalidField, ReportMalformed, ResultUnreadable):
        return
    match report:
        case Failure(reason, sentence):
            assert REASON.fullmatch(reason)
            assert len(sentence) <= 1000
        case Results(_, version):
            assert len(version) <= 64
        case Progress(_, stage):
            assert len(stage) <= 1000


def test_a_large_body_is_a_report() -> None:
    assert isinstance(report_in({"analysis_results": {"pitch": [0.5] * 50_000}}), Results)


@given(st.integers(0, int(MAX_RETRY_AFTER_SECONDS)))
def test_retry_after_may_be_seconds_or_a_date(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(str(seconds), None) == timedelta(seconds=seconds)
    assert retry_after(date, DATE) == timedelta(seconds=seconds)


@given(
    st.none()
    | st.text()
    | st.integers().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(lambda date: format_datetime(date, usegmt=True))
)
def test_retry_after_is_never_negative_nor_long(header: str | None) -> None:
    pause = retry_after(header, DATE)
    assert timedelta(0) <= pause <= timedelta(seconds=MAX_RETRY_AFTER_SECONDS)
