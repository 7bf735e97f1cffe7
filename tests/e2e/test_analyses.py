"""Analyses as a resource: get, list, cancel and retry."""

from __future__ import annotations

from uuid import uuid4

import grpc
import httpx
import pytest

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product, error_info
from tests.e2e.uploading import Uploader

RESULTS = {"analysis_results": {"score": 1}}


def test_an_analysis_has_its_recording_and_its_attempts(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (503, {}), (200, RESULTS))
    job_id = product.upload_sample(held_token)
    product.final_result(job_id)
    analysis = product.analysis(job_id)
    assert (analysis["job_id"], analysis["token_id"]) == (job_id, held_token)
    assert (analysis["status"], analysis["state"]) == ("completed", "ANALYSIS_STATE_COMPLETED")
    assert analysis["result"] == {"score": 1}
    assert analysis["recording"]["content_type"] == "audio/wav"
    assert analysis["recording"]["file_name"] == "ref_0890.wav"
    assert analysis["create_time"] <= analysis["end_time"]
    outcomes = [(each["number"], each["outcome"], each["error"]) for each in analysis["attempts"]]
    assert outcomes == [
        (1, "ATTEMPT_OUTCOME_FAILED", "answered 503"),
        (2, "ATTEMPT_OUTCOME_COMPLETED", ""),
    ]


def test_an_unknown_analysis_is_not_found(gateway: httpx.Client) -> None:
    for call in (
        gateway.get(f"/analyses/{uuid4()}"),
        gateway.post(f"/analyses/{uuid4()}:cancel"),
        gateway.post(f"/analyses/{uuid4()}:retry"),
    ):
        assert call.status_code == 404
        assert error_info(call)["reason"] == "JOB_NOT_FOUND"


class TestLists:
    def test_the_analyses_of_a_token_are_listed_in_pages_newest_first(
        self, product: Product, held_token: int
    ) -> None:
        job_ids = [product.upload_sample(held_token) for _ in range(3)]
        query: dict[str, str | int] = {"token_id": held_token, "page_size": 2}
        first = product.gateway.get("/analyses", params=query).json()
        query["page_token"] = first["next_page_token"]
        second = product.gateway.get("/analyses", params=query).json()
        listed = [each["job_id"] for each in (*first["analyses"], *second["analyses"])]
        assert listed == job_ids[::-1]
        assert second["next_page_token"] == ""

    def test_a_list_is_filtered_by_status_and_time(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        analysis_server.answer(held_token, (200, RESULTS))
        completed = product.upload_sample(held_token)
        product.final_result(completed)
        waiting = product.upload_sample(held_token, "take_0890_close.webm")

        def listed(**query: str) -> list[str]:
            answer = product.gateway.get("/analyses", params={"token_id": held_token, **query})
            assert answer.status_code == 200, answer.text
            return [each["job_id"] for each in answer.json()["analyses"]]

        assert listed(status="completed") == [completed]
        assert listed(status="processing") == [waiting]
        created = product.analysis(waiting)["create_time"]
        assert listed(created_from=created) == [waiting]
        assert listed(created_before=created) == [completed]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"page_size": "-1"}, "page_size"),
            ({"status": "done"}, "status"),
            ({"token_id": "-1"}, "token_id"),
            ({"page_token": "forged"}, "page_token"),
        ],
    )
    def test_a_bad_query_is_a_clear_error(
        self, gateway: httpx.Client, query: dict[str, str], field: str
    ) -> None:
        answer = gateway.get("/analyses", params=query)
        assert answer.status_code == 400
        assert error_info(answer)["metadata"]["field"] == field

    def test_a_page_token_of_another_query_is_refused(
        self, product: Product, held_token: int
    ) -> None:
        for _ in range(2):
            product.upload_sample(held_token)
        query: dict[str, str | int] = {"token_id": held_token, "page_size": 1}
        token = product.gateway.get("/analyses", params=query).json()["next_page_token"]
        answer = product.gateway.get("/analyses", params={"page_token": token})
        assert answer.status_code == 400
        assert error_info(answer)["metadata"]["field"] == "page_token"


class TestCancel:
    def test_a_dispatched_analysis_is_cancelled_and_its_late_result_is_ignored(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        job_id = product.upload_sample(held_token)
        analysis_server.job(job_id)
        states = product.states(job_id)
        next(states)
        cancelled = product.gateway.post(f"/analyses/{job_id}:cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        last = list(states)[-1]
        assert (last["status"], last["failure_reason"]) == ("failed", "CANCELLED")
        late = analysis_server.report(job_id, RESULTS)
        assert (late.status_code, late.json()["effect"]) == (200, "REPORT_EFFECT_IGNORED")
        assert product.analysis(job_id)["status"] == "cancelled"

    def test_cancelling_again_changes_nothing(self, product: Product, held_token: int) -> None:
        job_id = product.upload_sample(held_token)
        # Until then the dispatch under way may still add to the history.
        next(state for state in product.states(job_id) if state["progress"] >= 90)
        once = product.gateway.post(f"/analyses/{job_id}:cancel")
        again = product.gateway.post(f"/analyses/{job_id}:cancel")
        assert again.status_code == 200
        assert again.json() == once.json()

    def test_an_analysis_that_has_ended_cannot_be_cancelled(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        analysis_server.answer(held_token, (200, RESULTS))
        job_id = product.upload_sample(held_token)
        product.final_result(job_id)
        answer = product.gateway.post(f"/analyses/{job_id}:cancel")
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "ANALYSIS_ENDED"


class TestDelete:
    def test_a_deleted_analysis_is_found_by_no_call(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        gateway = product.gateway
        job_id = product.upload_sample(held_token)
        url = analysis_server.job(job_id)["webhook_url"]
        deleted = gateway.delete(f"/analyses/{job_id}")
        assert (deleted.status_code, deleted.json()) == (200, {})
        for answer in (
            gateway.get(f"/analyses/{job_id}"),
            gateway.get(f"/tokens/analysis-result/{job_id}"),
            gateway.get(f"/tokens/analysis-progress/{job_id}"),
            gateway.post(f"/analyses/{job_id}:cancel"),
            gateway.post(f"/analyses/{job_id}:retry"),
            gateway.delete(f"/analyses/{job_id}"),
            httpx.post(url, json=RESULTS),
        ):
            assert (answer.status_code, error_info(answer)["reason"]) == (404, "JOB_NOT_FOUND")
        listed = gateway.get("/analyses", params={"token_id": held_token})
        assert listed.json()["analyses"] == []

    def test_watchers_of_a_deleted_analysis_get_the_end(
        self, product: Product, held_token: int
    ) -> None:
        job_id = product.upload_sample(held_token)
        states = product.states(job_id)
        next(states)
        assert product.gateway.delete(f"/analyses/{job_id}").status_code == 200
        last = list(states)[-1]
        assert (last["status"], last["failure_reason"]) == ("failed", "CANCELLED")

    def test_a_missing_analysis_may_be_allowed(self, gateway: httpx.Client) -> None:
        path = f"/analyses/{uuid4()}"
        missing = gateway.delete(path)
        assert (missing.status_code, error_info(missing)["reason"]) == (404, "JOB_NOT_FOUND")
        allowed = gateway.delete(path, params={"allow_missing": "true"})
        assert (allowed.status_code, allowed.json()) == (200, {})


class TestRetry:
    def test_a_failed_analysis_is_computed_again_as_a_separate_job(
        self, product: Product, held_token: int, analysis_server: AnalysisServer
    ) -> None:
        analysis_server.answer(held_token, (400, {}), (200, RESULTS))
        failed = product.upload_sample(held_token)
        product.final_result(failed)
        answer = product.gateway.post(f"/analyses/{failed}:retry")
        assert answer.status_code == 200, answer.text
        retry = answer.json()["job_id"]
        assert answer.json()["retried_job_id"] == failed
        assert product.final_result(retry)["result"] == {"score": 1}
        assert product.result(failed)["status"] == "failed"
        again = product.gateway.post(f"/analyses/{failed}:retry")
        assert again.json()["job_id"] == retry

    def test_only_a_failed_analysis_can_be_retried(self, product: Product, held_token: int) -> None:
        answer = product.gateway.post(f"/analyses/{product.upload_sample(held_token)}:retry")
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "ANALYSIS_NOT_FAILED"

    def test_a_failed_upload_cannot_be_retried(
        self, product: Product, uploader: Uploader, held_token: int
    ) -> None:
        upload = uploader.create(held_token)
        with pytest.raises(grpc.RpcError):
            uploader.write(upload.upload_id, 0, b"no audio", finish=True)
        answer = product.gateway.post(f"/analyses/{upload.job_id}:retry")
        assert answer.status_code == 400
        assert error_info(answer)["reason"] == "RECORDING_MISSING"
