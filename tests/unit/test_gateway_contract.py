"""The gateway reads the HTTP surface from the contract."""

from __future__ import annotations

import pytest

from gateway.contract import Binding, bound_fields

GET = Binding("/a.Service/Get", "GET", "/things/{thing.id}/{kind=*}", "", is_stream=False)


def test_fields_that_a_path_binds_are_found() -> None:
    listed = Binding("/a.Service/List", "GET", "/things", "", is_stream=False)
    assert bound_fields([GET, listed]) == {"/a.Service/Get": ["thing.id", "kind"]}


def test_paths_of_one_rpc_must_bind_the_same_fields() -> None:
    other = Binding("/a.Service/Get", "GET", "/kinds/{kind}", "", is_stream=False)
    with pytest.raises(ValueError, match=r"/a\.Service/Get"):
        bound_fields([GET, other])
