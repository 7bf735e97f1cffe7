"""The page of who may call each rpc is generated from the contract."""

from __future__ import annotations

from pathlib import Path

from services.runtime.access_page import page

DOCUMENT = Path(__file__).parents[2] / "docs" / "access.md"


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == page(), "run `make access`"
