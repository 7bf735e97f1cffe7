"""Pages of lists (AIP-158): sizes, and tokens that go on where a page ended.

A page token holds the position after the last resource of its page, not a count,
so that page 10,000 costs what page 1 costs. It belongs to one query: with other
filters it is refused.
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
"""Where a page ended: the values that its list is ordered by."""


def page_size_of(asked: int) -> int:
    """The size of a page: 0 asks for the default, too many are cut to the most.

    Errors: InvalidField when it is negative.
    """
    if asked < 0:
        raise InvalidField(FieldViolation("page_size", "must be 0 or more"))
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_token(request: Message, position: Position) -> str:
    """The token of the page after `position` in the list that `request` asks for."""
    return _serializer(request).dumps(list(position))


def position_of(request: Message, *kinds: type) -> Position | None:
    """Where the page that `request` asks for begins; None for the first page.

    kinds: the types of the values of a position, `int` for one of 32 bits; default:
        not checked.
    Errors: InvalidField when the token is of another query, or of no query at all.
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
    """The checksum is no secret, so a token may be forged."""
    return (
        isinstance(position, list)
        and [type(each) for each in position] == list(kinds)
        and all(-(2**31) <= each < 2**31 for each in position if type(each) is int)
    )


def _serializer(request: Message) -> URLSafeSerializer:
    """Binds tokens to all fields of a request but those of paging."""
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_token")
    query.ClearField("page_size")
    fingerprint = hashlib.sha256(query.SerializeToString(deterministic=True)).digest()
    # A checksum and no secret: a position gives nothing away.
    return URLSafeSerializer("sori.page", salt=fingerprint)
