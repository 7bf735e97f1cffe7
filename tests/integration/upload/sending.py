"""How clients send a take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from services.upload.stream import Finish
from tests.integration.upload.faults import Faults
from tests.integration.upload.process import stream

Send = Callable[[bytes, Faults], AsyncGenerator[bytes | Finish]]
"""A client: what it sends, given the recording and the await points of the process."""


def at_once(content: bytes, _: Faults) -> AsyncGenerator[bytes | Finish]:
    """Send the whole take at once."""
    return stream(content, finish=True)


async def slowly(content: bytes, faults: Faults) -> AsyncGenerator[bytes | Finish]:
    """Send the second half when the upload is being opened."""
    is_opening = asyncio.Event()

    def reached(points: list[str]) -> None:
        if points[-1] == "open_job":
            is_opening.set()

    faults.reached = reached
    yield content[: len(content) // 2]
    await is_opening.wait()
    yield content[len(content) // 2 :]
    yield Finish()
