"""HTTP's conditional requests: the headers `ETag` and `If-Match` of calls that came over HTTP.

The gateway answers `If-None-Match`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ORIGINAL_PATH = "x-envoy-original-path"
"""The gateway sets it for calls that came over HTTP."""
PRECONDITION_FAILED = 412
_ETAG_MISMATCH = "ETAG_MISMATCH"


def etag_header(response: Any, metadata: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """The header `etag` of a resource, or nothing."""
    etag = getattr(response, "etag", "")
    if not etag or ORIGINAL_PATH not in metadata:
        return ()
    # Weak, because the gateway may compress the response.
    return (("etag", f'W/"{etag}"'),)


def apply_if_match(request: Any, metadata: Mapping[str, str]) -> None:
    """Set the request's etag, or that of its resource, from `If-Match`, if it has none.

    `*` and requests without an etag stay as they are.
    """
    found = re.search(r'"([^"]*)"', _if_match(metadata))
    if not found:
        return
    for message in (request, *_resources(request)):
        if "etag" in message.DESCRIPTOR.fields_by_name and not message.etag:
            message.etag = found[1]
            return


def failed_precondition(reason: str, metadata: Mapping[str, str]) -> int | None:
    """The HTTP status of an error that `If-Match` caused; None for another error."""
    return PRECONDITION_FAILED if reason == _ETAG_MISMATCH and _if_match(metadata) else None


def _if_match(metadata: Mapping[str, str]) -> str:
    return metadata.get("if-match", "") if ORIGINAL_PATH in metadata else ""


def _resources(request: Any) -> list[Any]:
    """The messages that the request contains."""
    return [
        value
        for field, value in request.ListFields()
        if field.message_type and hasattr(value, "DESCRIPTOR")
    ]
