"""The product reports that a part is down, and recovers on its own when it is back."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product, error_info
from tests.e2e.waiting import eventually


def is_healthy(gateway: httpx.Client) -> bool:
    return gateway.get("/healthz").status_code == 200


@pytest.fixture(autouse=True)
def healthy_before_and_after(product: Product) -> object:
    eventually(lambda: is_healthy(product.gateway))
    yield
    eventually(lambda: is_healthy(product.gateway))


def test_without_s3_an_upload_is_refused_as_unavailable(product: Product, held_token: int) -> None:
    product.stack.stop("s3")
    try:
        answer = product.upload(held_token, "ref_0890.wav")
        assert answer.status_code == 503
        assert error_info(answer)["reason"] == "STORAGE_UNAVAILABLE"
        eventually(lambda: not is_healthy(product.gateway))
    finally:
        product.stack.start("s3")
    eventually(lambda: product.upload(held_token, "ref_0890.wav").status_code == 200)


def test_without_postgresql_calls_are_refused_as_unavailable(
    product: Product, held_token: int
) -> None:
    job_id = product.upload_sample(held_token)
    product.stack.stop("postgres")
    try:
        for path in ("/tokens/1", f"/tokens/analysis-result/{job_id}"):
            answer = product.gateway.get(path)
            assert answer.status_code == 503
            assert error_info(answer)["reason"] == "DATABASE_UNAVAILABLE"
        eventually(lambda: not is_healthy(product.gateway))
    finally:
        product.stack.start("postgres")
    eventually(lambda: product.gateway.get("/tokens/1").status_code == 200)
    assert product.result(job_id)["status"] == "processing"


def test_a_watcher_sees_the_end_after_postgresql_was_down(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    states = product.states(job_id)
    next(states)
    product.stack.stop("postgres")
    product.stack.start("postgres")
    eventually(
        lambda: (
            analysis_server.report(job_id, {"analysis_results": {"score": 1}}).status_code == 200
        )
    )
    assert list(states)[-1]["status"] == "completed"


def test_a_job_continues_after_the_analysis_service_was_killed(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    product.stack.kill("analysis")
    analysis_server.job(job_id)
    eventually(
        lambda: (
            analysis_server.report(job_id, {"analysis_results": {"score": 1}}).status_code == 200
        )
    )
    eventually(lambda: is_healthy(product.gateway))
    assert product.final_result(job_id)["status"] == "completed"
