"""Polls for conditions that no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 30.0


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until the condition holds, where no event announces it.

    seconds: after which the test fails.
    """
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not holds():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
