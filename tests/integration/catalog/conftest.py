"""Fixtures for the tests of the catalog."""

from __future__ import annotations

import pytest

from services.catalog import freshness


@pytest.fixture
def old_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers from memory may be so old that a write without its wait is certain to be missed."""
    monkeypatch.setattr(freshness, "MAX_AGE_SECONDS", 1.0)
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 1.25)
