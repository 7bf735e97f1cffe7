"""Calls that the OpenAPI document allows, and others, never make the product fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from tests.stacks import new_stack

DOCUMENT = json.loads(
    (Path(__file__).parents[2] / "build" / "pages" / "openapi.json").read_text(encoding="utf-8")
)
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def own_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A separate stack, because these calls change and delete data."""
    folder = tmp_path_factory.mktemp("own")
    with new_stack(folder, {}, without=("analyzer",)) as stack:
        yield stack.gateway_url


@schema.parametrize()
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_no_call_makes_the_product_fail(case: Case[Any], own_gateway: str) -> None:
    answer = case.call(base_url=own_gateway)
    assert answer.status_code < 500, answer.text
    has_no_text = case.method == "HEAD" or answer.status_code < 300
    assert has_no_text or json.loads(answer.text)["message"]
