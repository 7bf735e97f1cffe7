"""Reuse: the same recording of the same token revision gets the stored result."""

from __future__ import annotations

import time

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product
from tests.e2e.waiting import PATIENCE_SECONDS

RESULTS = {"analysis_results": {"score": 1}, "analyzer_version": "1"}


def test_the_same_recording_gets_the_stored_result(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS))
    first = product.upload_sample(held_token)
    product.final_result(first)
    second = product.upload_sample(held_token)
    assert second != first
    assert [state["progress"] for state in product.states(second)] == [100]
    analysis = product.analysis(second)
    assert (analysis["reused"], analysis["reused_job_id"]) == (True, first)
    assert (analysis["result"], analysis["analyzer_version"]) == ({"score": 1}, "1")
    assert not analysis_server.was_dispatched(second)


def test_a_recording_of_a_changed_token_is_computed_again(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS))
    first = product.upload_sample(held_token)
    product.final_result(first)
    script = {"token_id": held_token, "text": "새 대사", "start_time": 0, "end_time": 1}
    assert product.gateway.post("/scripts", json=script).status_code == 200
    changed = product.gateway.get(f"/tokens/{held_token}").json()["revision"]
    second = uploaded_for_revision(product, held_token, changed)
    analysis_server.job(second)
    assert product.analysis(second)["reused"] is False


def uploaded_for_revision(product: Product, token_id: int, revision: int) -> str:
    """Upload again until the upload service has received the change of the token."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        job_id = product.upload_sample(token_id)
        if product.analysis(job_id)["token_revision"] >= revision:
            return job_id
        assert time.monotonic() < deadline, "the upload service never received the change"


def test_a_retry_is_always_computed(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (400, {}), (200, RESULTS), (200, {"analysis_results": {}}))
    failed = product.upload_sample(held_token)
    product.final_result(failed)
    product.final_result(product.upload_sample(held_token))
    retry = product.gateway.post(f"/analyses/{failed}:retry").json()["job_id"]
    assert product.final_result(retry)["result"] == {}
    assert analysis_server.was_dispatched(retry)
