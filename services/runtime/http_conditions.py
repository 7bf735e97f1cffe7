"""HTTP's conditional requests: the headers `ETag` and `If-Match` of calls that came over HTTP.

The gateway answers `If-None-Match`. The header of a response to GET is a hash of its content,
because also fields change that do not change the resource's etag: counters, presigned URLs.
The field `etag` of a resource comes before the hash, so that the header serves as `If-Match`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.runtime.serialized import Serialized

ORIGINAL_PATH = "x-envoy-original-path"
"""The gateway sets it for calls that came over HTTP."""
ORIGINAL_METHOD = "x-envoy-original-method"
"""The gateway sets it for calls that came over HTTP: GET for a read, also in response to HEAD."""
PRECONDITION_FAILED = 412
_ETAG_MISMATCH = "ETAG_MISMATCH"
_HASH_BYTES = 16
_SEPARATOR = ";"


def etag_header(response: Any, metadata: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """The header `etag` of a resource, or of any response to GET; otherwise nothing."""
    if ORIGINAL_PATH not in metadata:
        return ()
    etag = getattr(response, "etag", "")
    if metadata.get(ORIGINAL_METHOD) == "GET":
        content = _content_hash(response)
        etag = f"{etag}{_SEPARATOR}{content}" if etag else content
    # Weak, because the gateway may compress the response.
    return (("etag", f'W/"{etag}"'),) if etag else ()


def apply_if_match(request: Any, metadata: Mapping[str, str]) -> None:
    """Set the request's etag, or that of its resource, from `If-Match`, if it has none.

    `*` and requests without an etag stay as they are.
    """
    found = re.search(rf'"([^"{_SEPARATOR}]*)[^"]*"', _if_match(metadata))
    if not found:
        return
    for message in (request, *_resources(request)):
        if "etag" in message.DESCRIPTOR.fields_by_name and not message.etag:
            message.etag = found[1]
            return


def failed_precondition(reason: str, metadata: Mapping[str, str]) -> int | None:
    """The HTTP status of an error that `If-Match` caused; None for another error."""
    return PRECONDITION_FAILED if reason == _ETAG_MISMATCH and _if_match(metadata) else None


def _content_hash(response: Any) -> str:
    """A hash of a message; equal messages have the same one in every process."""
    if isinstance(response, Serialized):
        content = response.content
    else:
        content = response.SerializeToString(deterministic=True)
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def _if_match(metadata: Mapping[str, str]) -> str:
    return metadata.get("if-match", "") if ORIGINAL_PATH in metadata else ""


def _resources(request: Any) -> list[Any]:
    """The messages that the request contains."""
    return [
        value
        for field, value in request.ListFields()
        if field.message_type and hasattr(value, "DESCRIPTOR")
    ]
