"""The architecture page and the README's map name modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.environment import ROOT
from tests.docs.markdown import blocks

ARCHITECTURE = ROOT / "docs" / "architecture.md"
MODULE = re.compile(r"\b(?:accounts|upload|analysis|catalog|runtime)/(?:\w+/)*\w+\.py\b")
MAX_MODULES_OF_AN_UPLOAD = 10


def modules_of_map(readme: Path) -> list[str]:
    """The modules and folders that the map lists for each service, as paths."""
    lines = re.findall(r"^services/(\w+)/ +(.+)$", readme.read_text("utf-8"), re.MULTILINE)
    return [
        f"{service}/{name}"
        for service, text in lines
        for name in re.findall(r"\w+(?:\.py|/)", text)
    ]


def test_modules_that_the_page_names_exist() -> None:
    named = set(MODULE.findall(ARCHITECTURE.read_text("utf-8")))
    assert named
    assert {name for name in named if not (ROOT / "services" / name).is_file()} == set()


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_modules_on_the_map_exist(readme: str) -> None:
    named = modules_of_map(ROOT / readme)
    assert named
    assert [name for name in named if not (ROOT / "services" / name).exists()] == []


def test_a_take_by_form_crosses_few_modules_of_upload() -> None:
    diagrams = [block for block in blocks(ARCHITECTURE) if block.info == "mermaid"]
    modules = {name for name in MODULE.findall(diagrams[0].text) if name.startswith("upload/")}
    assert 0 < len(modules) <= MAX_MODULES_OF_AN_UPLOAD, modules
