"""What the analysis server's answer to a dispatch means for the job."""

from __future__ import annotations

import pytest

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product


def test_an_answer_with_results_completes_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, {"analysis_results": {"score": 1}}))
    ended = product.ended(product.uploaded(held_token))
    assert (ended["status"], ended["result"]) == ("completed", {"score": 1})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_passing_fault_is_tried_again(
    product: Product, held_token: int, analysis_server: AnalysisServer, status: int
) -> None:
    results = {"analysis_results": {"score": 1}}
    analysis_server.answer(held_token, (status, {}), (status, {}), (200, results))
    assert product.ended(product.uploaded(held_token))["status"] == "completed"


@pytest.mark.parametrize("status", [301, 400, 404, 422])
def test_a_refusal_ends_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer, status: int
) -> None:
    analysis_server.answer(held_token, (status, {}))
    ended = product.ended(product.uploaded(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "ANALYSIS_SERVER_REFUSED")


def test_a_server_that_stays_broken_ends_the_job(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, *[(503, {})] * 20)
    ended = product.ended(product.uploaded(held_token))
    assert (ended["status"], ended["failure_reason"]) == ("failed", "ANALYSIS_SERVER_UNAVAILABLE")
