"""Page tokens belong to one query and are never trusted."""

from __future__ import annotations

import pytest

from services.runtime.errors import InvalidField
from services.runtime.paging import page_size_of, page_token, position_of
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


def test_the_page_size_is_limited_and_never_negative() -> None:
    assert [page_size_of(asked) for asked in (0, 1, 10**9)] == [50, 1, 1000]
    with pytest.raises(InvalidField):
        page_size_of(-1)
