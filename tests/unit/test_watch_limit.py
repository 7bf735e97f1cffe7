"""One client cannot take all watches of a process."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from services.analysis.errors import TooManyWatches
from services.analysis.watch_limit import WatchLimit


def test_a_client_over_its_limit_does_not_shut_out_another() -> None:
    limit = WatchLimit(2)
    with ExitStack() as open_watches:
        for _ in range(2):
            open_watches.enter_context(limit.watch("192.0.2.1"))
        with pytest.raises(TooManyWatches), limit.watch("192.0.2.1"):
            pass
        with limit.watch("192.0.2.2"):
            pass


def test_an_ended_watch_does_not_count() -> None:
    limit = WatchLimit(1)
    for _ in range(3):
        with limit.watch("192.0.2.1"):
            pass


def test_watches_are_unlimited_by_default() -> None:
    limit = WatchLimit(None)
    with ExitStack() as open_watches:
        for _ in range(1000):
            open_watches.enter_context(limit.watch("192.0.2.1"))
