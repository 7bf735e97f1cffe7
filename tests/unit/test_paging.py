"""Page tokens belong to one query and are never trusted."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from itsdangerous import URLSafeSerializer

from services.runtime.errors import InvalidField
from services.runtime.paging import Position, page_size_of, page_token, position_of
from sori.catalog.v1 import catalog_pb2 as pb


def with_token(request: pb.ListTokensRequest, token: str) -> pb.ListTokensRequest:
    result = pb.ListTokensRequest()
    result.CopyFrom(request)
    result.page_token = token
    return result


def test_a_token_holds_its_position_for_any_page_size() -> None:
    query = pb.ListTokensRequest(category="movie", page_size=5)
    token = page_token(query, [7])
    query.page_size = 9
    assert position_of(with_token(query, token), int) == [7]


def test_a_token_of_another_query_is_refused() -> None:
    token = page_token(pb.ListTokensRequest(category="movie"), [7])
    with pytest.raises(InvalidField):
        position_of(with_token(pb.ListTokensRequest(), token), int)


@pytest.mark.parametrize("position", [[], [1, 2], ["1"], [1.0], [True], [2**31], [None]])
def test_a_forged_position_is_refused(position: list[int]) -> None:
    query = pb.ListTokensRequest()
    with pytest.raises(InvalidField):
        position_of(with_token(query, page_token(query, position)), int)


def test_a_long_token_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    query = pb.ListTokensRequest()
    token = page_token(query, [7])
    monkeypatch.setattr("base64.b64decode", None)
    with pytest.raises(InvalidField, match="page_token: must have at most 512 characters"):
        position_of(with_token(query, token + "A" * 512), int)


def test_the_longest_position_fits_into_a_token() -> None:
    query = pb.ListTokensRequest(category="가" * 100, text="가" * 200)
    position: Position = [
        -(2**31),
        "9999-12-31T23:59:59.999999+00:00",
        1.7976931348623157e308,
        -(2**31),
    ]
    token = page_token(query, position)
    assert position_of(with_token(query, token)) == position


def test_a_compressed_token_is_refused() -> None:
    """Version 0.2.0 compressed long tokens, so that a short token could be a long position."""
    fingerprint = hashlib.sha256(b"").digest()
    token = URLSafeSerializer("sori.page", salt=fingerprint).dumps([0] * 100_000)
    assert token.startswith(".")
    assert len(token) < 512
    with pytest.raises(InvalidField, match="page_token: must be the next_page_token"):
        position_of(with_token(pb.ListTokensRequest(), token))


def test_a_deeply_nested_position_is_refused() -> None:
    query = pb.ListTokensRequest()
    position: list[Any] = []
    for _ in range(180):
        position = [position]
    with pytest.raises(InvalidField, match="page_token"):
        position_of(with_token(query, page_token(query, position)), int)


@pytest.mark.parametrize("token", ["A", "AAAA", "한글", "=", "!!!!", "A" * 512])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        position_of(with_token(pb.ListTokensRequest(), token))


def test_the_page_size_is_limited_and_never_negative() -> None:
    assert [page_size_of(asked) for asked in (0, 1, 10**9)] == [50, 1, 1000]
    with pytest.raises(InvalidField):
        page_size_of(-1)
