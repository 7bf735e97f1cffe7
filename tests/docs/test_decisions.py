"""Decisions have one format and are all in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.environment import ROOT

FOLDER = ROOT / "docs" / "decisions"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Status", "Context", "Decision", "Consequences"]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: str(decision.stem))
def test_a_decision_has_the_four_sections(decision: Path) -> None:
    assert re.findall(r"^## (.+)$", decision.read_text("utf-8"), re.MULTILINE) == SECTIONS


def test_the_index_lists_every_decision_with_its_title() -> None:
    titles = [re.match(r"# (\d+)\. (.+)", each.read_text("utf-8")) for each in DECISIONS]
    rows = [f"| {found[1]} | [{found[2]}]" for found in titles if found]
    index = (FOLDER / "README.md").read_text("utf-8")
    assert re.findall(r"^(\| \d+ \| \[.+\])\(", index, re.MULTILINE) == rows
    assert [int(row.split()[1]) for row in rows] == list(range(1, len(DECISIONS) + 1))
