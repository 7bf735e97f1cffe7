"""The images contain every module of the project that their programs import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"


def copied(dockerfile: str) -> set[Path]:
    """The Python files of the project that a Dockerfile copies."""
    text = (DOCKER / dockerfile).read_text(encoding="utf-8").replace("\\\n", " ")
    sources = [
        ROOT / name
        for arguments in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE)
        for name in arguments.split()[:-1]
    ]
    return {
        file
        for source in sources
        for file in (source.rglob("*.py") if source.is_dir() else [source])
    }


def imported(file: Path) -> Iterator[Path]:
    """The files of the project that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            yield from (
                path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()
            )


@pytest.mark.parametrize(
    ("dockerfile", "program"),
    [
        ("analyzer.Dockerfile", "services/analyzer/__main__.py"),
        ("gateway.Dockerfile", "gateway/__main__.py"),
        ("gateway.Dockerfile", "gateway/openapi.py"),
    ],
)
def test_an_image_has_every_module_that_its_program_imports(dockerfile: str, program: str) -> None:
    needed, pending = set[Path](), {ROOT / program}
    while pending:
        needed |= pending
        pending = {path for file in pending for path in imported(file)} - needed
    missing = {str(path.relative_to(ROOT)) for path in needed - copied(dockerfile)}
    assert not missing
