"""Reports mean the same wherever they arrive, and no body breaks the parser."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from services.analysis.analyzer_client import MAX_RETRY_AFTER_SECONDS, retry_after
from services.analysis.report_parser import report_from, report_in
from services.analysis.reports import REASON, Failure, Progress, Results
from services.runtime.errors import InvalidField
from sori.analysis.v1 import analysis_pb2 as pb

NOW = datetime(2026, 1, 1, tzinfo=UTC)

json_values = st.sampled_from([None, True, -1, 1e300, "", "x" * 2000, "A\0B", [1], {"a": [1]}])
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


def message(body: dict[str, Any]) -> pb.AnalysisReport:
    return json_format.ParseDict(body, pb.AnalysisReport(), ignore_unknown_fields=True)


def test_a_report_of_results_has_their_version() -> None:
    report = report_from(message({"analysis_results": {"score": 1}, "analyzer_version": "2"}))
    assert isinstance(report, Results)
    assert report.analyzer_version == "2"


def test_empty_results_are_results() -> None:
    assert report_from(message({"analysis_results": {}})) == Results(b"", "")


def test_a_failure_has_a_reason_and_a_sentence() -> None:
    body = {"status": "failed", "reason": "SILENT_AUDIO", "error": "no voice"}
    assert report_from(message(body)) == Failure("SILENT_AUDIO", "no voice")


@pytest.mark.parametrize("reason", ["", "lower", "TOO_LONG" * 10, "WITH SPACE"])
def test_an_invalid_reason_is_replaced(reason: str) -> None:
    report = report_from(message({"status": "failed", "reason": reason, "error": "a\0b"}))
    assert report == Failure("ANALYSIS_FAILED", "ab")


def test_progress_has_a_percentage_and_a_stage() -> None:
    body = {"status": "processing", "progress": 50, "message": "half"}
    assert report_from(message(body)) == Progress(50, "half")


@pytest.mark.parametrize("body", [{}, {"status": "done"}, {"progress": 5}])
def test_a_body_without_a_report_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        report_from(message(body))


def test_progress_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidField):
        report_from(message({"status": "processing", "progress": "NaN"}))


@given(st.binary(max_size=200) | json_reports.map(lambda body: json.dumps(body).encode()))
def test_any_body_is_a_valid_report_or_none(body: bytes) -> None:
    match asyncio.run(report_in(body)):
        case Failure(reason, sentence):
            assert REASON.fullmatch(reason)
            assert len(sentence) <= 1000
        case Results(_, version):
            assert len(version) <= 64
        case Progress(_, stage):
            assert len(stage) <= 1000
        case None:
            pass


def test_a_large_body_is_a_report() -> None:
    body = json.dumps({"analysis_results": {"pitch": [0.5] * 50_000}}).encode()
    assert isinstance(asyncio.run(report_in(body)), Results)


@given(st.integers(0, int(MAX_RETRY_AFTER_SECONDS)))
def test_retry_after_may_be_seconds_or_a_date(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(str(seconds), NOW) == timedelta(seconds=seconds)
    assert retry_after(date, NOW) == timedelta(seconds=seconds)


@given(
    st.none()
    | st.text()
    | st.integers().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(lambda date: format_datetime(date, usegmt=True))
)
def test_retry_after_is_never_negative_nor_long(header: str | None) -> None:
    pause = retry_after(header, NOW)
    assert timedelta(0) <= pause <= timedelta(seconds=MAX_RETRY_AFTER_SECONDS)
