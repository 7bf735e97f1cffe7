from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.report_cache import ReportCache

A, B, C = (UUID(int=number) for number in range(3))
HOUR = 3600.0

MOST = 4
MOST_BYTES = 20

ends = st.tuples(
    st.integers(0, 7).map(lambda number: UUID(int=number)),
    st.binary(min_size=1, max_size=MOST_BYTES + 1),
    st.booleans(),
)


@given(st.lists(ends, max_size=40))
def test_reports_keep_within_number_and_bytes_and_the_latest_wins(
    endings: list[tuple[UUID, bytes, bool]],
) -> None:
    ended = ReportCache(HOUR, MOST, MOST_BYTES)
    latest: dict[UUID, bytes] = {}
    for job_id, report, delivered in endings:
        latest[job_id] = report
        ended.remember(job_id, report, delivered=delivered)
        kept = {each: ended.report(each) for each in latest if ended.report(each)}
        assert len(kept) == len(ended) <= MOST
        assert sum(len(kept_report or b"") for kept_report in kept.values()) <= MOST_BYTES
        assert kept.items() <= latest.items()


@pytest.mark.parametrize(("most", "most_bytes"), [(2, 100), (100, 5)])
def test_delivered_reports_make_room_for_undelivered_ones(most: int, most_bytes: int) -> None:
    ended = ReportCache(HOUR, most, most_bytes)
    ended.remember(A, b"aa", delivered=False)
    ended.remember(B, b"bb", delivered=True)
    ended.remember(C, b"cc", delivered=False)
    assert [ended.report(job_id) for job_id in (A, B, C)] == [b"aa", None, b"cc"]


def test_the_oldest_undelivered_report_goes_when_none_was_delivered() -> None:
    ended = ReportCache(HOUR, 2, 100)
    for job_id in (A, B, C):
        ended.remember(job_id, b"report", delivered=False)
    assert [ended.report(job_id) is None for job_id in (A, B, C)] == [True, False, False]


def test_only_an_undelivered_report_can_be_taken_and_only_once() -> None:
    ended = ReportCache(HOUR, 2, 100)
    ended.remember(A, b"report", delivered=True)
    ended.remember(B, b"report", delivered=False)
    assert ended.take_undelivered(A) is None
    assert ended.take_undelivered(B) == b"report"
    assert ended.take_undelivered(B) is None
    assert ended.report(B) is None


def test_a_report_is_forgotten_when_its_time_is_over() -> None:
    ended = ReportCache(0, 2, 100)
    ended.remember(A, b"report", delivered=False)
    assert ended.report(A) is None
    assert ended.take_undelivered(A) is None
