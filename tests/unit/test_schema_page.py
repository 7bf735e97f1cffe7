"""The page of the catalog's schema shows the tables as they are."""

from __future__ import annotations

from pathlib import Path

from services.catalog.schema_page import page
from services.catalog.tables import metadata

PAGE = Path(__file__).parents[2] / "docs" / "catalog-schema.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(metadata), "run `make erd`"
