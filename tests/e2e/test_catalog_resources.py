"""Actors, tokens and scripts through the gateway: all calls of the resource API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest

from services.runtime.paging import page_token
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc
from stack.stack import Stack
from tests.e2e.product import Product, error_info
from tests.e2e.waiting import eventually

Json = dict[str, Any]


def ok(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def reason(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    found: str = error_info(answer)["reason"]
    return found


@pytest.fixture
def actor(gateway: httpx.Client) -> Json:
    return ok(gateway.post("/actors", json={"name": f"배우 {uuid4()}", "aliases": ["a", "b"]}))


@pytest.fixture
def token(gateway: httpx.Client, actor: Json) -> Json:
    body = {"name": "clip", "actor_ids": [actor["id"]], "end_time": 10, "category": str(uuid4())}
    return ok(gateway.post("/tokens", json=body))


@pytest.fixture
def script(gateway: httpx.Client, token: Json) -> Json:
    words = [{"text": "안녕", "start_time": 0, "end_time": 1, "probability": 0.5}]
    body = {"token_id": token["id"], "text": "안녕", "end_time": 2, "words": words}
    return ok(gateway.post("/scripts", json=body))


@pytest.fixture
def catalog(stack: Stack) -> Iterator[catalog_pb2_grpc.CatalogServiceStub]:
    address = stack.address("catalog")
    with grpc.insecure_channel(address) as channel:
        yield catalog_pb2_grpc.CatalogServiceStub(channel)


@pytest.mark.parametrize(
    "text", ["수지", "Suzy", "👩‍🎤🏳️‍🌈", "é ŭ", "سلمى حايك", "שלום", "\u202eabc", "x" * 200]
)
def test_text_of_any_language_is_preserved(gateway: httpx.Client, token: Json, text: str) -> None:
    body = {"token_id": token["id"], "text": text, "translation": text, "end_time": 1}
    created = ok(gateway.post("/scripts", json=body | {"words": [{"text": text}]}))
    script = ok(gateway.get(f"/scripts/{created['id']}"))
    assert (script["text"], script["translation"], script["words"][0]["text"]) == (text,) * 3


def test_an_update_without_a_mask_sets_the_populated_fields(
    gateway: httpx.Client, token: Json
) -> None:
    updated = ok(gateway.patch(f"/tokens/{token['id']}", json={"name": "renamed"}))
    assert updated["name"] == "renamed"
    assert updated["category"] == token["category"]
    assert updated["etag"] != token["etag"]
    assert updated["update_time"] > token["update_time"]


def test_an_update_sets_the_fields_of_its_mask(gateway: httpx.Client, actor: Json) -> None:
    path = f"/actors/{actor['id']}"
    body = {"name": "not in the mask", "aliases": []}
    updated = ok(gateway.patch(path, params={"update_mask": "aliases"}, json=body))
    assert (updated["name"], updated["aliases"]) == (actor["name"], [])


def test_a_star_sets_all_fields(gateway: httpx.Client, token: Json) -> None:
    body = {"name": "bare", "actor_ids": token["actor_ids"], "end_time": 5}
    path = f"/tokens/{token['id']}"
    updated = ok(gateway.patch(path, params={"update_mask": "*"}, json=body))
    assert (updated["category"], updated["end_time"]) == ("", 5)


def test_an_asset_is_set_and_cleared_by_its_path(gateway: httpx.Client, token: Json) -> None:
    path = f"/tokens/{token['id']}"
    assets = {
        "voice": {"object_key": "references/v"},
        "pitch": {"object_key": "references/p"},
    }
    ok(gateway.patch(path, json={"reference_assets": assets}))
    mask = {"update_mask": "reference_assets.voice"}
    updated = ok(gateway.patch(path, params=mask, json={}))
    assert list(updated["reference_assets"]) == ["pitch"]
    assert updated["revision"] == 3


def test_output_only_fields_are_ignored(gateway: httpx.Client, token: Json) -> None:
    path = f"/tokens/{token['id']}"
    body = {"view_count": 7, "revision": 9, "name": "x"}
    updated = ok(gateway.patch(path, params={"update_mask": "view_count,name"}, json=body))
    assert (updated["view_count"], updated["revision"], updated["name"]) == (0, 1, "x")


@pytest.mark.parametrize("mask", ["nonsense", "name.first", "actor_ids.0", " "])
def test_a_mask_with_an_unknown_field_is_refused(
    gateway: httpx.Client, token: Json, mask: str
) -> None:
    path = f"/tokens/{token['id']}"
    answer = gateway.patch(path, params={"update_mask": mask}, json={"name": "x"})
    assert reason(answer, 400) == "INVALID_FIELD"


def test_a_stale_etag_is_refused_with_the_current_one(gateway: httpx.Client, script: Json) -> None:
    path = f"/scripts/{script['id']}"
    current = ok(gateway.patch(path, json={"text": "x", "etag": script["etag"]}))["etag"]
    answer = gateway.patch(path, json={"text": "y", "etag": script["etag"]})
    assert reason(answer, 409) == "ETAG_MISMATCH"
    assert error_info(answer)["metadata"]["etag"] == current
    assert reason(gateway.delete(path, params={"etag": script["etag"]}), 409) == "ETAG_MISMATCH"
    assert ok(gateway.delete(path, params={"etag": current})) == {}


def test_a_deleted_script_does_not_exist(gateway: httpx.Client, script: Json) -> None:
    assert ok(gateway.delete(f"/scripts/{script['id']}")) == {}
    assert reason(gateway.get(f"/scripts/{script['id']}"), 404) == "SCRIPT_NOT_FOUND"
    assert reason(gateway.delete(f"/scripts/{script['id']}"), 404) == "SCRIPT_NOT_FOUND"


def test_resources_in_use_are_deleted_only_with_force(
    gateway: httpx.Client, actor: Json, token: Json, script: Json
) -> None:
    assert reason(gateway.delete(f"/tokens/{token['id']}"), 409) == "TOKEN_IN_USE"
    assert reason(gateway.delete(f"/actors/{actor['id']}"), 409) == "ACTOR_IN_USE"
    force = {"force": "true"}
    ok(gateway.delete(f"/actors/{actor['id']}", params=force | {"validate_only": "true"}))
    ok(gateway.get(f"/tokens/{token['id']}"))
    ok(gateway.delete(f"/actors/{actor['id']}", params=force))
    assert reason(gateway.get(f"/tokens/{token['id']}"), 404) == "TOKEN_NOT_FOUND"
    assert reason(gateway.get(f"/scripts/{script['id']}"), 404) == "SCRIPT_NOT_FOUND"


def test_a_token_with_analyses_is_deleted_only_with_force(
    gateway: httpx.Client, product: Product, token: Json
) -> None:
    product.final_result(product.upload_sample(token["id"]))
    answer = gateway.delete(f"/tokens/{token['id']}")
    assert reason(answer, 409) == "TOKEN_IN_USE"
    assert error_info(answer)["metadata"]["users"] == "analyses"
    ok(gateway.delete(f"/tokens/{token['id']}", params={"force": "true"}))


def test_an_actor_counts_its_tokens(gateway: httpx.Client, token: Json) -> None:
    actor = ok(gateway.get(f"/actors/{token['actor_ids'][0]}"))
    assert actor["token_count"] == 1


def test_a_batch_is_in_the_order_of_the_ids(gateway: httpx.Client, actor: Json) -> None:
    other = ok(gateway.post("/actors", json={"name": str(uuid4())}))
    ids = [other["id"], actor["id"]]
    batch = ok(gateway.get("/actors:batchGet", params={"ids": ids}))
    assert [each["id"] for each in batch["actors"]] == ids
    answer = gateway.get("/actors:batchGet", params={"ids": [*ids, 2_000_000_000]})
    assert reason(answer, 404) == "ACTOR_NOT_FOUND"
    assert error_info(answer)["metadata"]["actor_id"] == "2000000000"


def test_a_create_can_be_repeated_with_its_request_id(gateway: httpx.Client) -> None:
    body, params = {"name": str(uuid4())}, {"request_id": str(uuid4())}
    first = ok(gateway.post("/actors", params=params, json=body))
    assert ok(gateway.post("/actors", params=params, json=body)) == first
    answer = gateway.post("/actors", params=params, json={"name": "other"})
    assert reason(answer, 422) == "REQUEST_ID_REUSED"


def test_validate_only_creates_nothing(gateway: httpx.Client) -> None:
    body, params = {"name": str(uuid4())}, {"validate_only": "true"}
    assert ok(gateway.post("/actors", params=params, json=body))["id"] == 0
    ok(gateway.post("/actors", json=body))
    assert reason(gateway.post("/actors", params=params, json=body), 409) == "ALREADY_EXISTS"


@pytest.mark.parametrize("order", ["", "latest", "popular", "shuffled"])
def test_pages_contain_every_element_once(gateway: httpx.Client, token: Json, order: str) -> None:
    copy = {"name": "copy", "actor_ids": token["actor_ids"], "end_time": 1}
    ids = {
        ok(gateway.post("/tokens", json=copy | {"category": token["category"]}))["id"]
        for _ in range(6)
    }
    params: Json = {"category": token["category"], "order_by": order, "page_size": 3}
    seen: list[int] = []
    while True:
        page = ok(gateway.get("/tokens", params=params))
        seen += [each["id"] for each in page["tokens"]]
        params["page_token"] = page["next_page_token"]
        if not params["page_token"]:
            break
    assert len(seen) == 7
    assert set(seen) == ids | {token["id"]}


def test_a_page_token_is_valid_only_for_its_query(gateway: httpx.Client) -> None:
    first = ok(gateway.get("/tokens", params={"page_size": 1}))
    params = {"page_token": first["next_page_token"], "category": "other"}
    assert reason(gateway.get("/tokens", params=params), 400) == "INVALID_FIELD"


def test_a_page_size_of_a_billion_means_the_largest_page(gateway: httpx.Client) -> None:
    assert len(ok(gateway.get("/tokens", params={"page_size": 10**9}))["tokens"]) <= 1000


def test_scripts_of_a_token_come_in_the_order_of_their_start(
    gateway: httpx.Client, token: Json
) -> None:
    for start in (4, 0, 2):
        body = {"token_id": token["id"], "text": "x", "start_time": start, "end_time": start + 1}
        ok(gateway.post("/scripts", json=body))
    params: Json = {"token_id": token["id"], "page_size": 2}
    first = ok(gateway.get("/scripts", params=params))
    second = ok(gateway.get("/scripts", params=params | {"page_token": first["next_page_token"]}))
    starts = [each["start_time"] for each in (*first["scripts"], *second["scripts"])]
    assert starts == [0, 2, 4]


def test_related_tokens_share_an_actor(gateway: httpx.Client, token: Json) -> None:
    body = {"name": "other", "actor_ids": token["actor_ids"], "end_time": 1}
    other = ok(gateway.post("/tokens", json=body))
    related = ok(gateway.get(f"/tokens/{token['id']}/related"))["tokens"]
    assert [each["id"] for each in related] == [other["id"]]


def test_names_are_found_by_initials_and_with_typos(gateway: httpx.Client) -> None:
    name = f"탕웨이 {uuid4()}"
    actor = ok(gateway.post("/actors", json={"name": name}))
    (match,) = ok(gateway.get("/actors:search", params={"query": "ㅌㅇㅇ"}))["matches"]
    assert match["actor"]["id"] == actor["id"]
    assert match["match"]["highlights"] == [{"start": 0, "end": 3}]
    assert ok(gateway.get("/actors:search", params={"query": name[:-3] + "x"}))["matches"]


def test_views_are_counted(gateway: httpx.Client, token: Json) -> None:
    for _ in range(3):
        assert ok(gateway.post(f"/tokens/{token['id']}:recordView", json={})) == {}
    eventually(lambda: ok(gateway.get(f"/tokens/{token['id']}"))["view_count"] == 3)
    assert reason(gateway.post("/tokens/2000000000:recordView", json={}), 404) == "TOKEN_NOT_FOUND"


def test_no_view_is_lost_when_the_catalog_stops(product: Product, token: Json) -> None:
    for _ in range(5):
        ok(product.gateway.post(f"/tokens/{token['id']}:recordView", json={}))
    product.stack.restart("catalog")
    product.stack.wait_ready("gateway")
    assert ok(product.gateway.get(f"/tokens/{token['id']}"))["view_count"] == 5


def test_a_crash_loses_no_view_that_was_flushed(product: Product, token: Json) -> None:
    path = f"/tokens/{token['id']}"
    ok(product.gateway.post(f"{path}:recordView"))
    eventually(lambda: ok(product.gateway.get(path))["view_count"] == 1)
    product.stack.kill("catalog")
    product.stack.wait_ready("catalog")
    product.stack.wait_routed("catalog")
    assert ok(product.gateway.get(path))["view_count"] == 1


def test_a_watch_receives_the_changes_of_an_import(
    catalog: catalog_pb2_grpc.CatalogServiceStub,
) -> None:
    watch = catalog.WatchTokens(pb.WatchTokensRequest(), timeout=60)
    next(batch for batch in watch if batch.cursor)
    name = str(uuid4())
    content = (
        f'{{"actor": {{"name": "{name}"}}}}\n'
        f'{{"token": {{"name": "{name}", "actors": ["{name}"], "end_time": 3.5}}}}\n'
        "nonsense"
    ).encode()
    requests = iter([pb.ImportCatalogRequest(chunk=bytes([byte])) for byte in content])
    *_, last = catalog.ImportCatalog(requests, timeout=60)
    assert (last.last_line, last.created, last.refused) == (3, 2, 1)
    assert last.refused_lines[0].line == 3
    changes = next(batch.changes for batch in watch if batch.changes)
    token = catalog.GetToken(pb.GetTokenRequest(id=changes[-1].token_id))
    assert token.name == name
    watch.cancel()
    exported = b"".join(
        message.chunk for message in catalog.ExportCatalog(pb.ExportCatalogRequest(), timeout=60)
    )
    assert exported.count(name.encode()) == 3


def test_the_command_imports_and_exports_a_file(stack: Stack, tmp_path: Path) -> None:
    name = str(uuid4())
    file = tmp_path / "catalog.jsonl"
    file.write_text(f'{{"actor": {{"name": "{name}"}}}}\nnonsense\n', encoding="utf-8")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.catalog.cli", command, str(file)],
            env={**os.environ, "CATALOG_ADDRESS": stack.address("catalog")},
            capture_output=True,
            text=True,
            check=False,
        )

    imported = run("import")
    assert imported.returncode == 1
    assert "1 created, 0 updated, 0 unchanged, 1 refused" in imported.stdout
    assert "line 2: line: " in imported.stderr
    assert run("export").returncode == 0
    assert name in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "query",
    ["'; DROP TABLE catalog.actors; --", "%' OR 1=1", '"', "\\", "%", "{name}", ":query", "$1"],
)
def test_sql_in_a_query_is_treated_as_text(gateway: httpx.Client, query: str) -> None:
    ok(gateway.get("/actors:search", params={"query": query}))
    ok(gateway.get("/tokens:search", params={"query": query}))
    ok(gateway.get("/tokens", params={"text": f"abc{query}", "category": query}))
    actor = ok(gateway.post("/actors", json={"name": f"{query} {uuid4()}"}))
    assert actor["name"].startswith(query)


MARKS = "a" + "\u0315\u0300" * 200_000
"""Normalisation takes half a minute for it, and the gateway waits 10 seconds."""
EMPTY_WORDS = {"token_id": 1, "text": "x", "end_time": 1, "words": [{}] * 300_000}

INVALID_CALLS: list[tuple[str, str, Json, int]] = [
    ("GET", "/actors", {"params": {"page_size": -1}}, 400),
    ("GET", "/actors", {"params": {"page_size": 2**31}}, 400),
    ("GET", "/actors", {"params": {"page_token": "x"}}, 400),
    ("GET", "/actors", {"params": {"nonsense": "x"}}, 400),
    ("GET", "/actors/0", {}, 400),
    ("GET", "/actors/-1", {}, 400),
    ("GET", "/actors/2147483647", {}, 404),
    ("GET", "/actors/2147483648", {}, 400),
    ("GET", "/actors/x", {}, 400),
    ("GET", "/actors:batchGet", {}, 400),
    ("GET", "/actors:batchGet", {"params": {"ids": [1, 1]}}, 400),
    ("GET", "/actors:batchGet", {"params": {"ids": list(range(1, 1002))}}, 400),
    ("GET", "/actors:batchGet", {"params": {"ids": list(range(2 * 10**9, 2 * 10**9 + 900))}}, 404),
    ("GET", "/actors:search", {}, 400),
    ("GET", "/actors:search", {"params": {"query": " "}}, 400),
    ("GET", "/actors:search", {"params": {"query": "a\0b"}}, 400),
    ("GET", "/actors:search", {"params": {"query": "x" * 101}}, 400),
    ("GET", "/tokens", {"params": {"order_by": "newest"}}, 400),
    ("GET", "/tokens", {"params": {"actor_id": -1}}, 400),
    ("GET", "/tokens", {"params": {"text": "ab"}}, 400),
    ("GET", "/tokens", {"params": {"text": "👩‍🎤👩‍🎤👩‍🎤"}}, 400),
    ("GET", "/tokens", {"params": {"seed": -1, "order_by": "shuffled"}}, 400),
    ("GET", "/tokens", {"params": {"max_duration": "nan"}}, 400),
    ("GET", "/tokens", {"params": {"category": "a\0b"}}, 400),
    ("GET", "/tokens/2147483647/related", {}, 404),
    ("GET", "/tokens/1", {"params": {"view": "NONSENSE"}}, 400),
    ("POST", "/actors", {"json": {"name": "a\0b"}}, 400),
    ("POST", "/actors", {"json": {"name": "x" * 201}}, 400),
    ("POST", "/actors", {"json": {"name": "x" * 10_000_000}}, 413),
    ("POST", "/actors", {"content": f'{{"name": "{MARKS}"}}'.encode()}, 400),
    ("POST", "/actors", {"json": {"name": "x", "aliases": [""] * 200_000}}, 400),
    ("POST", "/actors", {"content": b'{"name": "\xff\xfe"}'}, 400),
    ("POST", "/actors", {"json": {"name": "x"}, "params": {"request_id": "1"}}, 400),
    ("POST", "/scripts", {"json": {"token_id": 1, "text": "x", "end_time": 1e308}}, 400),
    ("POST", "/scripts", {"json": EMPTY_WORDS}, 400),
    ("POST", "/scripts", {"json": EMPTY_WORDS | {"words": [{}] * 500}}, 400),
    ("POST", "/scripts", {"json": {"token_id": 2**31, "text": "x", "end_time": 1}}, 400),
    ("PATCH", "/actors/2147483647", {"json": {"name": "x"}}, 404),
    ("PATCH", "/actors/1", {"json": {}, "params": {"update_mask": "x," * 5_000}}, 400),
    ("PATCH", "/tokens/1", {"json": {"actor_ids": [2147483647]}}, 404),
    ("PATCH", "/scripts/1", {"json": {"token_id": 2}}, 400),
    ("DELETE", "/tokens/2147483647", {}, 404),
    ("PUT", "/actors/1", {"json": {"name": "x"}}, 405),
]


@pytest.mark.parametrize(("method", "path", "arguments", "status"), INVALID_CALLS)
def test_an_invalid_call_is_an_error_with_a_reason(
    gateway: httpx.Client, method: str, path: str, arguments: Json, status: int
) -> None:
    answer = gateway.request(method, path, **arguments)
    assert answer.status_code == status, answer.text[:500]
    assert error_info(answer)["reason"]


@pytest.mark.parametrize(
    "position", [["x"], [1, 2], [2**40], [1.5], [True], [None], {"a": 1}, "x", [[1]]]
)
def test_a_forged_page_token_is_refused(gateway: httpx.Client, position: object) -> None:
    forged = page_token(pb.ListTokensRequest(), position)  # type: ignore[arg-type]
    assert reason(gateway.get("/tokens", params={"page_token": forged}), 400) == "INVALID_FIELD"
