"""Long conversions in slices, between which the event loop runs other calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

SLICE_SECONDS = 0.002

Element = TypeVar("Element")
Result = TypeVar("Result")


async def map_in_slices(
    convert: Callable[[Element], Result], elements: Iterable[Element]
) -> list[Result]:
    """The converted elements; other calls run after each SLICE_SECONDS."""
    results: list[Result] = []
    end = time.perf_counter() + SLICE_SECONDS
    for element in elements:
        results.append(convert(element))
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + SLICE_SECONDS
    return results
