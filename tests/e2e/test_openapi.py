"""The product answers calls as the OpenAPI document says, and no call makes it fail.

`make openapi-check` tries 150 examples of each operation.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response

from tests.e2e.openapi_failures import expected_by
from tests.stacks import new_stack

DOCUMENT = json.loads(
    (Path(__file__).parents[2] / "build" / "pages" / "openapi.json").read_text(encoding="utf-8")
)
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "10"))
CONFIG = SchemathesisConfig.from_dict(
    {
        # Random tokens would only be refused.
        "generation": {"with-security-parameters": False},
        "checks": {
            # tus requires 412 for another version of the protocol.
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
            "missing_required_header": {"expected-statuses": [400, 412]},
            # In the local stack, callers without credentials have all roles.
            "ignored_auth": {"enabled": False},
        },
    }
)
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
OWN_ACCOUNT = re.compile("/auth/(me|sessions|totp)")
"""Operations about the caller's own account, which need its access token."""

schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Gateway:
    """The address of a gateway, and the access token of an account."""

    url: str
    access_token: str

    def headers_for(self, path: str) -> dict[str, str] | None:
        """The credentials of a call; others have the roles of the local stack without any."""
        if not OWN_ACCOUNT.match(path):
            return None
        return {"authorization": f"Bearer {self.access_token}"}


@pytest.fixture(scope="module")
def own_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A separate stack, because these calls change and delete data."""
    folder = tmp_path_factory.mktemp("own")
    environment = {"ACCESS_TOKEN_SECONDS": "3600", "ACCOUNTS_EMAIL_VERIFICATION": "false"}
    with new_stack(folder, environment, without=("analyzer",)) as stack:
        credentials = {"email": "schema@example.com", "password": "not that of the document"}
        with httpx.Client(base_url=stack.gateway_url, timeout=30) as client:
            client.post("/auth/signup", json=credentials).raise_for_status()
            answer = client.post("/auth/login", json=credentials).raise_for_status()
        yield Gateway(stack.gateway_url, answer.json()["access_token"])


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_response_is_as_the_document_says(case: Case[Any], own_gateway: Gateway) -> None:
    url, headers = own_gateway.url, own_gateway.headers_for(case.path)
    answer = case.call(base_url=url, headers=headers)
    try:
        case.validate_response(
            answer, headers=headers, transport_kwargs={"base_url": url, "headers": headers}
        )
    except FailureGroup as group:
        response = Response.from_any(answer)
        faults = [each for each in group.exceptions if not expected_by(each, case, response)]
        if faults:
            raise FailureGroup(faults, str(group)) from None
    has_no_text = case.method == "HEAD" or answer.status_code < 300
    assert has_no_text or json.loads(answer.text)["message"]
