"""Responses that a servicer returns as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Serialized:
    """A response message that is serialized already, such as one from a cache.

    etag: of the resource, for the header; empty if it has none.
    """

    content: bytes
    etag: str = ""


def accepting_serialized(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A serializer of messages that passes on those which are serialized already."""
    return lambda response: (
        response.content if type(response) is Serialized else serialize(response)
    )
