"""The catalog through the gateway: creates, reads and their errors."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.product import error_info

Json = dict[str, Any]


def create(gateway: httpx.Client, collection: str, resource: Json) -> Json:
    """Create a resource, and check that reading it returns the same."""
    answer = gateway.post(f"/{collection}", json=resource)
    assert answer.status_code == 200, answer.text
    created: Json = answer.json()
    assert gateway.get(f"/{collection}/{created['id']}").json() == created
    return created


@pytest.fixture
def actor(gateway: httpx.Client) -> Json:
    return create(gateway, "actors", {"name": f"수지 {uuid4()}", "aliases": ["Suzy", "배수지"]})


@pytest.fixture
def token(gateway: httpx.Client, actor: Json) -> Json:
    return create(
        gateway,
        "tokens",
        {
            "name": "건축학개론",
            "actor_ids": [actor["id"]],
            "category": "movie",
            "source_url": "https://video.example/watch?v=1",
            "start_time": 61.5,
            "end_time": 66,
            "reference_assets": {"voice": {"object_key": "references/x/voice.wav"}},
        },
    )


def test_an_actor_has_its_fields_and_a_create_time(actor: Json) -> None:
    assert isinstance(actor["id"], int)
    assert actor["aliases"] == ["Suzy", "배수지"]
    assert actor["create_time"].endswith("Z")


def test_a_token_has_its_fields_and_no_asset_urls(token: Json) -> None:
    assert (token["start_time"], token["end_time"], token["view_count"]) == (61.5, 66, 0)
    assert token["reference_assets"]["voice"]["url"] == ""


def test_a_full_view_has_scripts_words_and_urls(gateway: httpx.Client, token: Json) -> None:
    words = [
        {"text": "어쩌면", "start_time": 0.25, "end_time": 0.75},
        {"text": "우린", "start_time": 0.75, "end_time": 1.5},
    ]
    script = create(
        gateway,
        "scripts",
        {
            "token_id": token["id"],
            "text": "어쩌면 우린",
            "translation": "Perhaps we",
            "language_code": "ko",
            "end_time": 4.5,
            "words": words,
        },
    )
    assert script["words"] == words
    full = gateway.get(f"/tokens/{token['id']}", params={"view": "TOKEN_VIEW_FULL"}).json()
    assert full["scripts"] == [script]
    assert "X-Amz-Signature" in full["reference_assets"]["voice"]["url"]


def test_text_is_stored_in_nfc(gateway: httpx.Client) -> None:
    decomposed = f"e\u0301 {uuid4()}"
    actor = create(gateway, "actors", {"name": decomposed})
    assert actor["name"] == decomposed.replace("e\u0301", "\u00e9")


def test_a_duplicate_name_is_a_conflict_that_names_the_field(
    gateway: httpx.Client, actor: Json
) -> None:
    answer = gateway.post("/actors", json={"name": actor["name"]})
    assert answer.status_code == 409
    assert error_info(answer)["metadata"] == {"resource": "actor", "field": "name"}


def test_all_invalid_fields_are_named_in_one_error(gateway: httpx.Client) -> None:
    answer = gateway.post("/tokens", json={"name": "", "start_time": -1, "end_time": -2})
    assert answer.status_code == 400
    assert error_info(answer)["reason"] == "INVALID_FIELD"
    bad_request = answer.json()["details"][2]
    assert [violation["field"] for violation in bad_request["field_violations"]] == [
        "token.name",
        "token.actor_ids",
        "token.start_time",
        "token.end_time",
    ]


def test_a_token_of_an_unknown_actor_is_not_found(gateway: httpx.Client) -> None:
    token = {"name": "x", "actor_ids": [2_000_000_000], "end_time": 1}
    answer = gateway.post("/tokens", json=token)
    assert answer.status_code == 404
    assert error_info(answer)["reason"] == "ACTOR_NOT_FOUND"


def test_a_script_of_an_unknown_token_is_not_found(gateway: httpx.Client) -> None:
    answer = gateway.post("/scripts", json={"token_id": 2_000_000_000, "text": "x", "end_time": 1})
    assert answer.status_code == 404
    assert error_info(answer)["reason"] == "TOKEN_NOT_FOUND"


def test_an_asset_cannot_be_a_learners_recording(gateway: httpx.Client, actor: Json) -> None:
    token = {
        "name": "x",
        "actor_ids": [actor["id"]],
        "end_time": 1,
        "reference_assets": {"voice": {"object_key": "recordings/1/x"}},
    }
    assert gateway.post("/tokens", json=token).status_code == 400


@pytest.mark.parametrize("body", ["{", "[]", '{"name": 3}'])
def test_a_malformed_body_is_an_error(gateway: httpx.Client, body: str) -> None:
    answer = gateway.post("/actors", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert error_info(answer)["reason"] == "REQUEST_MALFORMED"


@pytest.mark.parametrize("view", ["FULL", "full", "TOKEN_VIEW_FULL", "token_view_full"])
def test_a_view_has_a_short_and_a_full_name(gateway: httpx.Client, view: str) -> None:
    assert gateway.get(f"/tokens/1?view={view}").json()["scripts"]
    assert not gateway.get("/tokens/1?view=BASIC").json()["scripts"]


def test_an_unknown_view_is_an_error(gateway: httpx.Client) -> None:
    assert gateway.get("/tokens/1?view=EVERYTHING").status_code == 400
