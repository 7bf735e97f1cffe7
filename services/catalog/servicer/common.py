"""Helpers for the rpcs of all resources."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from services.catalog import validation
from services.catalog.store import CreateOptions
from services.runtime.paging import page_size_of
from services.runtime.text import nfc

DEFAULT_MATCHES = 20
MAX_MATCHES = 100

Element = TypeVar("Element")


class CreateRequest(Protocol):
    """A request that creates a resource."""

    request_id: str
    validate_only: bool


def create_options(request: CreateRequest, message: Message) -> CreateOptions:
    """The options of a create request.

    message: the resource to create. Errors: InvalidField if the request id is not a UUID.
    """
    content = message.DESCRIPTOR.full_name.encode() + message.SerializeToString(deterministic=True)
    return CreateOptions(
        validation.request_id_of(request.request_id),
        hashlib.sha256(content).digest(),
        request.validate_only,
    )


def split_page(elements: Sequence[Element], size: int) -> tuple[Sequence[Element], Element | None]:
    """A page and, if another page follows, the last element of this one.

    elements: up to `size` + 1 elements; the extra one shows that another page follows.
    """
    page = elements[:size]
    return page, page[-1] if len(elements) > size else None


def search_query(text: str) -> str:
    """The query of a search, in NFC. Errors: InvalidField."""
    query = nfc(text, validation.MAX_QUERY_LENGTH)
    validation.check_query(query)
    return query


def match_limit(page_size: int) -> int:
    """The number of matches to return. Errors: InvalidField if negative."""
    return min(page_size_of(page_size), MAX_MATCHES) if page_size else DEFAULT_MATCHES
