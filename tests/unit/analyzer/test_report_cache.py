from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.report_cache import ReportCache

A, B, C = (UUID(int=number) for number in range(3))
HOUR = 3600.0

MAX_REPORTS = 4
MAX_BYTES = 20

ended_jobs = st.tuples(
    st.integers(0, 7).map(lambda number: UUID(int=number)),
    st.binary(min_size=1, max_size=MAX_BYTES + 1),
    st.booleans(),
)


@given(st.lists(ended_jobs, min_size=1, max_size=40))
def test_the_cache_respects_its_limits_and_has_the_latest_reports(
    jobs: list[tuple[UUID, bytes, bool]],
) -> None:
    cache = ReportCache(HOUR, MAX_REPORTS, MAX_BYTES)
    latest: dict[UUID, bytes] = {}
    for job_id, report, delivered in jobs:
        latest[job_id] = report
        cache.put(job_id, report, delivered=delivered)
        cached = {each: cache.get(each) for each in latest if cache.get(each)}
        assert len(cached) == len(cache) <= MAX_REPORTS
        assert sum(len(each or b"") for each in cached.values()) <= MAX_BYTES
        assert cached.items() <= latest.items()


@pytest.mark.parametrize(("max_reports", "max_bytes"), [(2, 100), (100, 5)])
def test_delivered_reports_are_evicted_before_undelivered_ones(
    max_reports: int, max_bytes: int
) -> None:
    cache = ReportCache(HOUR, max_reports, max_bytes)
    cache.put(A, b"aa", delivered=False)
    cache.put(B, b"bb", delivered=True)
    cache.put(C, b"cc", delivered=False)
    assert [cache.get(job_id) for job_id in (A, B, C)] == [b"aa", None, b"cc"]


def test_without_delivered_reports_the_oldest_undelivered_one_is_evicted() -> None:
    cache = ReportCache(HOUR, 2, 100)
    for job_id in (A, B, C):
        cache.put(job_id, b"report", delivered=False)
    assert [cache.get(job_id) is None for job_id in (A, B, C)] == [True, False, False]


def test_only_an_undelivered_report_can_be_popped_and_only_once() -> None:
    cache = ReportCache(HOUR, 2, 100)
    cache.put(A, b"report", delivered=True)
    cache.put(B, b"report", delivered=False)
    assert cache.pop_undelivered(A) is None
    assert cache.pop_undelivered(B) == b"report"
    assert cache.pop_undelivered(B) is None
    assert cache.get(B) is None


def test_a_report_expires() -> None:
    cache = ReportCache(0, 2, 100)
    cache.put(A, b"report", delivered=False)
    assert cache.get(A) is None
    assert cache.pop_undelivered(A) is None
