"""The shuffled order of tokens. Pure.

All tokens lie on a ring (see `store.Ring`). A seed decides where on the ring the first page
starts, and how the tokens within each page are shuffled. So every page is read from an index,
whatever the seed. An order that differs for each seed would require a sort of all tokens.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

Element = TypeVar("Element")


def ring_start(seed: int) -> int:
    """Where on the ring the pages of a seed start: -2**31 to 2**31 - 1."""
    digest = hashlib.blake2b(str(seed).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big", signed=True)


def shuffled(elements: Sequence[Element], seed: int) -> list[Element]:
    """The elements in an order that depends only on the seed."""
    result = list(elements)
    random.Random(seed).shuffle(result)  # noqa: S311 (no secret)
    return result
