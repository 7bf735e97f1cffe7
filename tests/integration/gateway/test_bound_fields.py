"""A request cannot name a field again that its path binds.

The cases are generated from the contract, so they cover an rpc as soon as it has a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from gateway.contract import Binding, read_bindings
from gateway.settings import GatewaySettings
from services.runtime.access import rule_of
from sori.access.v1.access_pb2 import Access
from tests.integration.gateway.fake_services import NAMES
from tests.integration.gateway.process import reason

BINDINGS = read_bindings(GatewaySettings().gateway_descriptor, NAMES)
BOUND = [binding for binding in BINDINGS if binding.variables]


def camel_case(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def spellings(field: str) -> Iterator[str]:
    """Ways to write a field's name in a query."""
    yield field
    yield camel_case(field)
    yield field.upper()
    yield f"%{ord(field[0]):02x}{field[1:]}"
    yield field.replace(".", "%2E").replace("_", "%5f")
    yield from {field.partition(".")[0]} - {field}


def path_of(binding: Binding) -> str:
    path = re.sub(r"{kind}", "voice", binding.template)
    return re.sub(r"{[^}]+}", "9", path)


def send(client: httpx.Client, binding: Binding, query: str = "") -> httpx.Response:
    headers = {"tus-resumable": "1.0.0"}
    json: object = {} if binding.body else None
    return client.request(binding.verb, path_of(binding) + query, headers=headers, json=json)


@pytest.mark.parametrize(
    ("binding", "parameter"),
    [
        pytest.param(binding, spelling, id=f"{binding.verb} {binding.template}?{spelling}")
        for binding in BOUND
        for field in binding.variables
        for spelling in spellings(field)
    ],
)
def test_a_query_cannot_override_the_path(
    client: httpx.Client, binding: Binding, parameter: str
) -> None:
    for query in (f"?{parameter}=10", f"?{parameter}=9", f"?&&{parameter}=9&{parameter}=10"):
        answer = send(client, binding, query)
        assert answer.status_code == 400
        if binding.verb != "HEAD":
            assert reason(answer) == "REQUEST_MALFORMED"


@pytest.mark.parametrize("binding", BOUND, ids=lambda binding: f"{binding.verb} {binding.template}")
def test_the_path_alone_is_accepted(client: httpx.Client, binding: Binding) -> None:
    assert send(client, binding).status_code != 400


def test_the_error_names_the_parameter(client: httpx.Client) -> None:
    answer = client.delete("/tokens/9?id=10")
    assert "The path sets id; remove it from the query." in answer.json()["message"]


def nested(field: str, value: str) -> object:
    """A JSON object with one field, which may be inside others."""
    name, _, rest = field.partition(".")
    return {name: nested(rest, value) if rest else value}


def body_fields(binding: Binding) -> Iterator[str]:
    """The bound fields as the body of a request can name them."""
    for field in binding.variables:
        if binding.body == "*":
            yield field
        elif field.startswith(f"{binding.body}."):
            yield field.removeprefix(f"{binding.body}.")


IN_BODIES = [
    pytest.param(binding, field, id=f"{binding.verb} {binding.template} {field}")
    for binding in BOUND
    for field in body_fields(binding)
]


@pytest.mark.parametrize(("binding", "field"), IN_BODIES)
def test_a_body_cannot_override_the_path(
    client: httpx.Client, binding: Binding, field: str
) -> None:
    answer = client.request(binding.verb, path_of(binding), json=nested(field, "10"))
    refusals = {(400, "REQUEST_MALFORMED")}
    if rule_of(binding.rpc).access == Access.ACCESS_ACCOUNT:
        # The caller has no account. Envoy sees that first if the body comes after the headers.
        refusals.add((401, "CREDENTIALS_MISSING"))
    assert (answer.status_code, reason(answer)) in refusals


def test_the_path_overrides_a_body_in_camel_case(client: httpx.Client) -> None:
    # Envoy compares the names as they are in the contract only.
    answer = client.post("/analyses/9:cancel", json={"jobId": "10"})
    assert answer.json()["job_id"] == "9"


def test_a_trailing_slash_does_not_hide_the_query(client: httpx.Client) -> None:
    assert client.delete("/tokens/9/?id=10").status_code == 400


@pytest.mark.parametrize(("binding", "field"), IN_BODIES)
def test_a_body_may_repeat_the_path(client: httpx.Client, binding: Binding, field: str) -> None:
    answer = client.request(binding.verb, path_of(binding), json=nested(field, "9"))
    assert answer.status_code != 400
