"""What the rpcs of all resources have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from services.catalog import validation
from services.catalog.store import Creation

Found = TypeVar("Found")


class CreateRequest(Protocol):
    """A request that creates something."""

    request_id: str
    validate_only: bool


def creation_of(request: CreateRequest, message: Message) -> Creation:
    """How `message` is created. Errors: InvalidField when the request id is no UUID."""
    content = message.DESCRIPTOR.full_name.encode() + message.SerializeToString(deterministic=True)
    return Creation(
        validation.request_id_of(request.request_id),
        hashlib.sha256(content).digest(),
        request.validate_only,
    )


def page_of(found: Sequence[Found], size: int) -> tuple[Sequence[Found], Found | None]:
    """A page, and its last element when there is another page after it.

    found: one more than the size of a page tells whether there is another.
    """
    page = found[:size]
    return page, page[-1] if len(found) > size else None
