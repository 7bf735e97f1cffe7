"""One client cannot take all watches of a process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from services.analysis.settings import AnalysisSettings
from services.catalog.settings import CatalogSettings
from services.runtime.shared_errors import TooManyWatches, WatchesExhausted
from services.runtime.watch_limit import WatchLimit


def test_a_client_over_its_limit_does_not_shut_out_another() -> None:
    limit = WatchLimit(per_client=2, total=0)
    with ExitStack() as open_watches:
        for _ in range(2):
            open_watches.enter_context(limit.watch("192.0.2.1"))
        with pytest.raises(TooManyWatches), limit.watch("192.0.2.1"):
            pass
        with limit.watch("192.0.2.2"):
            pass


def test_an_ended_watch_does_not_count() -> None:
    limit = WatchLimit(per_client=1, total=0)
    for _ in range(3):
        with limit.watch("192.0.2.1"):
            pass


def test_many_clients_together_cannot_exceed_the_limit_of_the_process() -> None:
    limit = WatchLimit(per_client=0, total=2)
    with limit.watch("192.0.2.1"):
        with (
            limit.watch("192.0.2.2"),
            pytest.raises(WatchesExhausted),
            limit.watch("192.0.2.3"),
        ):
            pass
        with limit.watch("192.0.2.3"):
            pass


def test_zero_is_unlimited() -> None:
    limit = WatchLimit(per_client=0, total=0)
    with ExitStack() as open_watches:
        for _ in range(1000):
            open_watches.enter_context(limit.watch("192.0.2.1"))


def test_watches_are_limited_by_default_and_leave_room_for_other_calls() -> None:
    def default(settings: type[BaseSettings], name: str) -> Any:
        return settings.model_fields[name].default

    of_client = default(AnalysisSettings, "max_watches_per_client")
    total = default(AnalysisSettings, "analysis_max_watches")
    assert 0 < of_client < total < default(AnalysisSettings, "analysis_max_calls")
    of_client = default(CatalogSettings, "catalog_max_watches_per_client")
    total = default(CatalogSettings, "catalog_max_watches")
    assert 0 < of_client < total < default(CatalogSettings, "catalog_max_calls")
