"""The same recording of the same token is not computed again."""

from __future__ import annotations

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product

RESULTS = {"analysis_results": {"score": 1}, "analyzer_version": "1"}


def test_the_same_recording_is_completed_from_the_stored_result(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS))
    first = product.uploaded(held_token)
    product.ended(first)
    second = product.uploaded(held_token)
    assert second != first
    assert [state["progress"] for state in product.states(second)] == [100]
    analysis = product.analysis(second)
    assert (analysis["reused"], analysis["reused_job_id"]) == (True, first)
    assert (analysis["result"], analysis["analyzer_version"]) == ({"score": 1}, "1")
    assert not analysis_server.was_dispatched(second)


def test_a_token_that_has_changed_is_computed_again(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS))
    first = product.uploaded(held_token)
    product.ended(first)
    script = {"token_id": held_token, "text": "새 대사", "start_time": 0, "end_time": 1}
    assert product.gateway.post("/scripts", json=script).status_code == 200
    # The upload service knows of the change after its cache has ended.
    product.stack.kill("upload")
    product.stack.wait_ready("upload")
    second = product.uploaded(held_token)
    analysis_server.job(second)
    assert product.analysis(second)["reused"] is False


def test_a_retry_is_always_computed(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (400, {}), (200, RESULTS), (200, {"analysis_results": {}}))
    failed = product.uploaded(held_token)
    product.ended(failed)
    product.ended(product.uploaded(held_token))
    retry = product.gateway.post(f"/analyses/{failed}:retry").json()["job_id"]
    assert product.ended(retry)["result"] == {}
    assert analysis_server.was_dispatched(retry)
