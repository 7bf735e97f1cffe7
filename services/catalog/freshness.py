"""How old an answer from memory can be, and the wait before a change is announced.

A process answers from memory only if it has checked within MAX_AGE_SECONDS which tokens
changed. A change is announced a little later than that: a write waits before it returns, a
watch before it sends changes. So a caller that knows of a change gets it, at any replica.
"""

from __future__ import annotations

import asyncio

MAX_AGE_SECONDS = 0.02
"""An answer from memory shows all changes that were committed this long before it."""

WAIT_SECONDS = MAX_AGE_SECONDS * 1.25
"""From a commit until the change is announced. Longer, because clocks differ in speed."""


async def wait_until_seen() -> None:
    """Return when every replica's answers show the changes committed before this call."""
    await asyncio.sleep(WAIT_SECONDS)
