"""Pages of lists (AIP-158): their sizes, and the tokens of next pages.

A page token holds the position after the last resource of its page, not a count, so that
page 10,000 costs as much as page 1. It belongs to one query; other filters refuse it.

A token is the checksum of its query and position, then the position as JSON, in URL-safe base64.
It is not compressed: a short token cannot expand to a large position.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

from google.protobuf.message import Message

from services.runtime.errors import FieldViolation, InvalidField

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
MAX_TOKEN_LENGTH = 512

_CHECKSUM_BYTES = 12

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
    content = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(request, content) + content).rstrip(b"=").decode()


def position_of(request: Message, *kinds: type) -> Position | None:
    """The position after which the requested page begins; None for the first page.

    kinds: the types of the position's values; `int` means 32 bits. Default: not checked.

    Errors: InvalidField if the token is too long, malformed or of another query.
    """
    token: str = request.page_token  # type: ignore[attr-defined]
    if not token:
        return None
    if len(token) > MAX_TOKEN_LENGTH:
        problem = f"must have at most {MAX_TOKEN_LENGTH} characters"
        raise InvalidField(FieldViolation("page_token", problem))
    try:
        position = _position(request, token)
        if kinds and not _is_of(position, kinds):
            raise ValueError("not a position of this list")
    except (ValueError, RecursionError):
        problem = "must be the next_page_token of a call with the same other fields"
        raise InvalidField(FieldViolation("page_token", problem)) from None
    return position


def _position(request: Message, token: str) -> Position:
    decoded = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    checksum, content = decoded[:_CHECKSUM_BYTES], decoded[_CHECKSUM_BYTES:]
    if checksum != _checksum(request, content):
        raise ValueError("a token of another query")
    position: Position = json.loads(content)
    return position


def _is_of(position: object, kinds: Sequence[type]) -> bool:
    """Whether the position has these types. Tokens are not signed, so they can be forged."""
    return (
        isinstance(position, list)
        and [type(each) for each in position] == list(kinds)
        and all(-(2**31) <= each < 2**31 for each in position if type(each) is int)
    )


def _checksum(request: Message, content: bytes) -> bytes:
    """A checksum of a position and all fields of a request except those of paging.

    It needs no secret: a position reveals nothing.
    """
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_token")
    query.ClearField("page_size")
    fields = query.SerializeToString(deterministic=True)
    return hashlib.sha256(hashlib.sha256(fields).digest() + content).digest()[:_CHECKSUM_BYTES]
