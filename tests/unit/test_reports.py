"""What the analysis server says is understood alike wherever it says it."""

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

from services.analysis.dispatch import MAX_RETRY_AFTER_SECONDS, pause_before, retry_after
from services.analysis.reports import Failure, Progress, Results, report_in, report_of
from services.runtime.errors import InvalidField
from sori.analysis.v1 import analysis_pb2 as pb

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def message(body: dict[str, Any]) -> pb.AnalysisReport:
    return json_format.ParseDict(body, pb.AnalysisReport(), ignore_unknown_fields=True)


def test_results_complete() -> None:
    report = report_of(message({"analysis_results": {"score": 1}, "analyzer_version": "2"}))
    assert isinstance(report, Results)
    assert report.analyzer_version == "2"


def test_results_without_content_are_results() -> None:
    assert report_of(message({"analysis_results": {}})) == Results(b"", "")


def test_a_failure_has_a_reason_and_a_sentence() -> None:
    body = {"status": "failed", "reason": "SILENT_AUDIO", "error": "no voice"}
    assert report_of(message(body)) == Failure("SILENT_AUDIO", "no voice")


@pytest.mark.parametrize("reason", ["", "lower", "TOO_LONG" * 10, "WITH SPACE"])
def test_a_reason_that_is_none_is_replaced(reason: str) -> None:
    report = report_of(message({"status": "failed", "reason": reason, "error": "a\0b"}))
    assert report == Failure("ANALYSIS_FAILED", "ab")


def test_progress_has_a_percentage_and_a_stage() -> None:
    body = {"status": "processing", "progress": 50, "message": "half"}
    assert report_of(message(body)) == Progress(50, "half")


@pytest.mark.parametrize("body", [{}, {"status": "done"}, {"progress": 5}])
def test_a_report_of_nothing_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        report_of(message(body))


def test_progress_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidField):
        report_of(message({"status": "processing", "progress": "NaN"}))


@given(st.binary(max_size=200))
def test_a_body_of_anything_is_read_without_harm(body: bytes) -> None:
    asyncio.run(report_in(body))


def test_a_large_body_is_read() -> None:
    body = json.dumps({"analysis_results": {"pitch": [0.5] * 50_000}}).encode()
    assert isinstance(asyncio.run(report_in(body)), Results)


def test_retry_after_in_seconds_is_honoured() -> None:
    assert retry_after("7", NOW) == timedelta(seconds=7)


def test_retry_after_at_a_date_is_honoured() -> None:
    date = format_datetime(NOW + timedelta(seconds=30), usegmt=True)
    assert retry_after(date, NOW) == timedelta(seconds=30)


@given(st.none() | st.text())
def test_retry_after_is_never_negative_nor_long(header: str | None) -> None:
    pause = retry_after(header, NOW)
    assert timedelta(0) <= pause <= timedelta(seconds=MAX_RETRY_AFTER_SECONDS)


@given(st.integers(1, 1000), st.floats(0.01, 10))
def test_a_pause_is_at_most_a_minute(tries: int, first: float) -> None:
    assert timedelta(0) <= pause_before(tries, first) <= timedelta(seconds=60)
