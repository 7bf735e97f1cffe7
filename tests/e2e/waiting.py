"""Waiting for what no event tells."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 30.0


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells: a health check that has noticed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = 0.01
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
