"""A client that has a resource does not get it again."""

from __future__ import annotations

import uuid

import httpx


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
