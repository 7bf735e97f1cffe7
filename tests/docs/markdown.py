"""Reads documents: their fenced blocks and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stack.environment import ROOT

_FENCED = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its first line of text. info: such as `sh no-run`."""

    line: int
    info: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether a test runs these commands."""
        return self.info == "sh"


def documents() -> list[Path]:
    """The documents whose commands must work, in the order of reading."""
    return [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    text = document.read_text("utf-8")
    return [
        Block(text[: found.start("text")].count("\n") + 1, found["info"].strip(), found["text"])
        for found in _FENCED.finditer(text)
    ]


def tables(document: Path) -> list[list[str]]:
    """The rows of all tables of a document, as cells, without the headings."""
    rows: list[list[str]] = []
    for line in document.read_text("utf-8").splitlines():
        if line.startswith("| ---"):
            rows.pop()
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
