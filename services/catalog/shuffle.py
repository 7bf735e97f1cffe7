"""The shuffled order of tokens. Pure.

A seed says where on the ring of all tokens a page chain begins (see `store.Ring`),
and how the tokens of each page are mixed. So any page is read from an index, whatever
the seed, which sorting all tokens by a hash of their own would not allow.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

Element = TypeVar("Element")


def start_of(seed: int) -> int:
    """Where the chain of a seed begins: from -2**31 to 2**31 - 1."""
    digest = hashlib.blake2b(str(seed).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big", signed=True)


def mixed(elements: Sequence[Element], seed: int) -> list[Element]:
    """The elements in an order that depends on the seed alone."""
    mixed = list(elements)
    random.Random(seed).shuffle(mixed)  # noqa: S311 (no secret)
    return mixed
