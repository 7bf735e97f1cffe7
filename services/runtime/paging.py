"""Pages of lists (AIP-158): their sizes, and the tokens of next pages.

A page token holds the position after the last resource of its page, not a count, so that
page 10,000 costs as much as page 1. It belongs to one query; other filters refuse it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from google.protobuf.message import Message
from itsdangerous import BadData, URLSafeSerializer

from services.runtime.errors import FieldViolation, InvalidField

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000

Position = Sequence[str | int | float]
"""The end of a page: the last resource's values of the fields that order the list."""


def page_size_of(requested: int) -> int:
    """The size of a page: 0 means the default, and larger values mean the maximum.

    Errors: InvalidField if it is negative.
    """
    if requested < 0:
        raise InvalidField(FieldViolation("page_size", "must be 0 or more"))
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_token(request: Message, position: Position) -> str:
    """The token of the page after `position` in the list of `request`."""
    return _serializer(request).dumps(list(position))


def position_of(request: Message, *kinds: type) -> Position | None:
    """The position after which the requested page begins; None for the first page.

    kinds: the types of the position's values; `int` means 32 bits. Default: not checked.

    Errors: InvalidField if the token belongs to another query or is malformed.
    """
    token: str = request.page_token  # type: ignore[attr-defined]
    if not token:
        return None
    try:
        position: Position = _serializer(request).loads(token)
        if kinds and not _is_of(position, kinds):
            raise BadData("not a position of this list")
    except BadData:
        problem = "must be the next_page_token of a call with the same other fields"
        raise InvalidField(FieldViolation("page_token", problem)) from None
    return position


def _is_of(position: object, kinds: Sequence[type]) -> bool:
    """Whether the position has these types. Tokens are not signed, so they can be forged."""
    return (
        isinstance(position, list)
        and [type(each) for each in position] == list(kinds)
        and all(-(2**31) <= each < 2**31 for each in position if type(each) is int)
    )


def _serializer(request: Message) -> URLSafeSerializer:
    """A serializer that binds tokens to all fields of a request except those of paging."""
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_token")
    query.ClearField("page_size")
    fingerprint = hashlib.sha256(query.SerializeToString(deterministic=True)).digest()
    # A checksum without a secret: a position reveals nothing.
    return URLSafeSerializer("sori.page", salt=fingerprint)
