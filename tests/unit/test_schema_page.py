"""The page of the catalog's schema is generated from the current tables."""

from __future__ import annotations

from pathlib import Path

from services.catalog.schema_page import page
from services.catalog.tables import metadata

DOCUMENT = Path(__file__).parents[2] / "docs" / "catalog-schema.md"


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == page(metadata), "run `make erd`"
