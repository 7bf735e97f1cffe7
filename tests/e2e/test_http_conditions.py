"""HTTP clients read and change resources on a condition."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product
from tests.e2e.waiting import eventually


def test_a_resource_is_sent_again_only_after_a_change(gateway: httpx.Client) -> None:
    # Long enough to be compressed.
    aliases = [f"{n} {uuid.uuid4()}" for n in range(40)]
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}", "aliases": aliases})
    path = f"/actors/{actor.json()['id']}"
    first = gateway.get(path)
    assert first.headers["content-encoding"] == "gzip"
    condition = {"if-none-match": first.headers["etag"]}
    assert gateway.get(path, headers=condition).status_code == 304
    gateway.patch(path, json={"aliases": []}, params={"update_mask": "aliases"})
    assert gateway.get(path, headers=condition).json()["aliases"] == []


def test_a_token_is_sent_again_when_only_its_views_changed(gateway: httpx.Client) -> None:
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}"}).json()
    body = {"name": "clip", "actor_ids": [actor["id"]], "end_time": 10, "category": "film"}
    path = f"/tokens/{gateway.post('/tokens', json=body).json()['id']}"
    first = gateway.get(path)
    gateway.post(f"{path}:recordView", json={})
    condition = {"if-none-match": first.headers["etag"]}
    eventually(lambda: gateway.get(path, headers=condition).status_code == 200)
    again = gateway.get(path)
    assert (again.json()["view_count"], again.json()["etag"]) == (1, first.json()["etag"])


def test_a_resource_that_was_read_can_be_changed_on_the_condition(gateway: httpx.Client) -> None:
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}"}).json()
    path = f"/actors/{actor['id']}"
    condition = {"if-match": gateway.get(path).headers["etag"]}
    assert gateway.patch(path, json={"aliases": ["new"]}, headers=condition).status_code == 200
    assert gateway.patch(path, json={"aliases": ["old"]}, headers=condition).status_code == 412


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_of_an_outdated_resource_is_refused(gateway: httpx.Client, method: str) -> None:
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}"})
    path, outdated = f"/actors/{actor.json()['id']}", {"if-match": actor.headers["etag"]}
    changed = gateway.patch(path, json={"aliases": ["new"]}, headers=outdated)
    assert changed.status_code == 200
    json = {"aliases": ["newer"]} if method == "PATCH" else None
    assert gateway.request(method, path, json=json, headers=outdated).status_code == 412
    current = {"if-match": changed.headers["etag"]}
    assert gateway.request(method, path, json=json, headers=current).status_code == 200


@pytest.mark.parametrize("path", ["/actors:search", "/actors"])
def test_a_list_or_search_is_sent_again_only_after_a_change(
    gateway: httpx.Client, path: str
) -> None:
    name = f"actor {uuid.uuid4()}"
    actor = gateway.post("/actors", json={"name": name}).json()
    query = {"query": name} if path.endswith(":search") else {"page_size": "1000"}
    first = gateway.get(path, params=query)
    condition = {"if-none-match": first.headers["etag"]}
    for method in ("GET", "HEAD"):
        again = gateway.request(method, path, params=query, headers=condition)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    gateway.patch(f"/actors/{actor['id']}", json={"aliases": ["new"]})
    changed = gateway.get(path, params=query, headers=condition)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_a_result_is_sent_again_only_in_another_state_or_language(
    product: Product, gateway: httpx.Client, held_token: int, analysis_server: AnalysisServer
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    paths = (f"/tokens/analysis-result/{job_id}", f"/analyses/{job_id}")
    running = [gateway.get(path).headers["etag"] for path in paths]
    analysis_server.report(job_id, {"analysis_results": {"score": 1, "words": {"a": 1, "b": 2}}})
    for path, etag in zip(paths, running, strict=True):
        completed = gateway.get(path, headers={"if-none-match": etag})
        assert (completed.status_code, completed.json()["status"]) == (200, "completed")
        condition = {"if-none-match": completed.headers["etag"]}
        for method in ("GET", "HEAD"):
            assert gateway.request(method, path, headers=condition).status_code == 304
        english = gateway.get(path, headers=condition | {"accept-language": "en"})
        assert english.status_code == 200
