"""HTTP clients read and change resources on a condition."""

from __future__ import annotations

import uuid

import httpx
import pytest


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
