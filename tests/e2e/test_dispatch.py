"""The answer of the analysis server decides what happens to the job."""

from __future__ import annotations

import pytest

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product


def test_an_answer_with_results_completes_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, {"analysis_results": {"score": 1}}))
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["result"]) == ("completed", {"score": 1})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_transient_failure_is_retried(
    product: Product, held_token: int, analysis_server: AnalysisServer, status: int
) -> None:
    results = {"analysis_results": {"score": 1}}
    analysis_server.answer(held_token, (status, {}), (status, {}), (200, results))
    assert product.final_result(product.upload_sample(held_token))["status"] == "completed"


@pytest.mark.parametrize("status", [301, 400, 404, 422])
def test_a_refusal_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer, status: int
) -> None:
    analysis_server.answer(held_token, (status, {}))
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "ANALYSIS_SERVER_REFUSED")


def test_a_server_that_always_fails_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, *[(503, {})] * 20)
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "ANALYSIS_SERVER_UNAVAILABLE")


def test_every_dispatch_of_a_job_has_the_same_idempotency_key(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (503, {}), (200, {"analysis_results": {}}))
    job_id = product.upload_sample(held_token)
    product.final_result(job_id)
    keys = [headers["idempotency-key"] for headers in analysis_server.dispatches(job_id)]
    assert keys == [job_id, job_id]


def test_an_answer_with_a_failure_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    failure = {"status": "failed", "reason": "NO_PITCH", "error": "음높이를 찾지 못했습니다."}
    analysis_server.answer(held_token, (200, failure))
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "NO_PITCH")
    assert ended["message"] == "음높이를 찾지 못했습니다."


UNREADABLE = b'{"analysis_results": {"pitch": [1.0, NaN]}}'


def test_an_answer_with_a_result_that_could_not_be_read_back_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, UNREADABLE), (200, {"analysis_results": {}}))
    job_id = product.upload_sample(held_token)
    ended = product.final_result(job_id)
    assert (ended["status"], ended["failure_reason"]) == ("failed", "RESULT_UNREADABLE")
    attempts = product.gateway.get(f"/analyses/{job_id}").json()["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["ATTEMPT_OUTCOME_REFUSED"]
    assert "analysis_results.pitch[1]" in attempts[0]["error"]
    # The same recording is analysed again: nothing was stored that could be reused.
    assert product.final_result(product.upload_sample(held_token))["result"] == {}


def test_a_result_at_the_status_url_that_could_not_be_read_back_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.offer_status(held_token, UNREADABLE)
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "RESULT_UNREADABLE")


def test_a_result_over_the_limit_fails_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, {"analysis_results": {"x": "y" * 2**20}}))
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "RESULT_TOO_LARGE")


def test_a_lost_report_is_read_at_the_status_url(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.offer_status(held_token, {"analysis_results": {"score": 7}})
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["result"]) == ("completed", {"score": 7})


def test_a_failure_is_read_at_the_status_url(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.offer_status(held_token, {"status": "failed", "reason": "SILENT_AUDIO"})
    ended = product.final_result(product.upload_sample(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "SILENT_AUDIO")


def test_progress_at_the_status_url_reaches_watchers(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    status = {"status": "processing", "progress": 50, "message": "음높이 분석 중..."}
    analysis_server.offer_status(held_token, status)
    states = product.states(product.upload_sample(held_token))
    assert any(
        (state["progress"], state["message"]) == (94, "음높이 분석 중...") for state in states
    )


def test_reported_progress_reaches_watchers(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    report = {"status": "processing", "progress": 100, "message": "거의 끝났습니다."}
    answer = analysis_server.report(job_id, report)
    assert answer.json()["effect"] == "REPORT_EFFECT_APPLIED"
    states = product.states(job_id)
    assert any(
        (state["progress"], state["message"]) == (99, "거의 끝났습니다.") for state in states
    )
    analysis_server.report(job_id, {"analysis_results": {}})
    assert product.result(job_id)["message"] == "분석 완료"
