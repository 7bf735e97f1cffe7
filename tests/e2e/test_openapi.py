"""The product answers calls as the OpenAPI document says, and no call makes it fail.

`make openapi-check` tries 150 examples of each operation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
document = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
# Accounts are new: the document does not state all bounds of their fields yet.
schema = document.exclude(path_regex="^/(auth|accounts)")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def own_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A separate stack, because these calls change and delete data."""
    folder = tmp_path_factory.mktemp("own")
    with new_stack(folder, {}, without=("analyzer",)) as stack:
        yield stack.gateway_url


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_response_is_as_the_document_says(case: Case[Any], own_gateway: str) -> None:
    answer = case.call(base_url=own_gateway)
    try:
        case.validate_response(answer, transport_kwargs={"base_url": own_gateway})
    except FailureGroup as group:
        response = Response.from_any(answer)
        faults = [each for each in group.exceptions if not expected_by(each, case, response)]
        if faults:
            raise FailureGroup(faults, str(group)) from None
    has_no_text = case.method == "HEAD" or answer.status_code < 300
    assert has_no_text or json.loads(answer.text)["message"]
