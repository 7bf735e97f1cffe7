"""The English and the Korean README have the same content."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.environment import ROOT
from tests.docs.markdown import blocks, documents, tables

ENGLISH, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"
LINK = re.compile(r"\]\((?!#|https?:)([^)#]+)")


def commands(document: Path) -> list[str]:
    """The lines of all shell blocks, without comments."""
    lines = (line for block in blocks(document) if block.info for line in block.text.splitlines())
    return [code for line in lines if (code := re.sub(r"\s*# .*$", "", line))]


def names(document: Path) -> list[list[str]]:
    """The code names in the first cell of each row of each table."""
    return [re.findall(r"`([^`]+)`", row[0]) for row in tables(document)]


def test_both_readmes_have_the_same_commands() -> None:
    assert commands(ENGLISH) == commands(KOREAN)


def test_both_readmes_have_the_same_tables() -> None:
    assert names(ENGLISH)[-1] == ["GATEWAY_PORT"]
    assert [row[:1] for row in names(ENGLISH)] == [row[:1] for row in names(KOREAN)]


@pytest.mark.parametrize(
    "document",
    [*documents(), *ROOT.glob("docs/decisions/*.md"), ROOT / "CONTRIBUTING.md"],
    ids=lambda document: str(document.relative_to(ROOT)),
)
def test_files_that_a_document_links_exist(document: Path) -> None:
    links = LINK.findall(document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
