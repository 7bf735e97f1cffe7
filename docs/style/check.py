"""Check prose against the style: `python docs/style/check.py`.

Reads comments and docstrings of Python code, protos, YAML, shell and Lua, and the
documents, and refuses the phrases of `banned_phrases.txt`. Vale would be the field's
tool, but no package of it works without downloading a binary.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_COMMENT = {".proto": "//", ".lua": "--", ".yaml": "#", ".sh": "#", ".j2": "#", ".sql": "--"}
_EXEMPT = {"docs/style/banned_phrases.txt", "docs/style/check.py", "README.ko.md"}


@dataclass(frozen=True)
class Rule:
    """A phrase that is refused, and what to write instead."""

    pattern: re.Pattern[str]
    advice: str


@dataclass(frozen=True)
class Finding:
    """A refused phrase at a line of a file."""

    path: str
    line: int
    phrase: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.phrase}': write {self.advice}"


def read_rules(text: str) -> list[Rule]:
    """The rules of `banned_phrases.txt`."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [
        Rule(re.compile(pattern, re.IGNORECASE), advice)
        for pattern, advice in (line.split(" => ", 1) for line in lines)
    ]


def check(path: str, text: str, rules: list[Rule]) -> Iterator[Finding]:
    """The refused phrases in the prose of one file."""
    for first_line, prose in _prose(path, text):
        stripped = re.sub(r"\s*\n\s*(#|//|--)?\s*", "\n", prose)
        for rule in rules:
            # A phrase may continue on the next line.
            for found in re.finditer(rule.pattern, stripped.replace("\n", " ")):
                line = first_line + stripped[: found.start()].count("\n")
                yield Finding(path, line, found.group(), rule.advice)


def _prose(path: str, text: str) -> Iterator[tuple[int, str]]:
    """The prose of a file as (first line, text) blocks."""
    suffix = Path(path).suffix
    if suffix == ".md":
        yield from _blocks(enumerate(text.splitlines(), 1), lambda line: line)
    elif suffix == ".py":
        yield from _python_prose(text)
    elif suffix in _COMMENT:
        mark = _COMMENT[suffix]
        yield from _blocks(
            enumerate(text.splitlines(), 1),
            lambda line: line.split(mark, 1)[1] if mark in line else "",
        )


def _python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Comments and strings: docstrings, descriptions and messages."""
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING:
            yield token.start[0], token.string
        elif token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("#")
    lines = ((line, comments.get(line, "")) for line in range(1, text.count("\n") + 2))
    yield from _blocks(lines, lambda line: line)


def _blocks(
    lines: Iterable[tuple[int, str]], prose_of: Callable[[str], str]
) -> Iterator[tuple[int, str]]:
    """Join neighbouring lines of prose."""
    block: list[str] = []
    start = 0
    for number, line in lines:
        prose = prose_of(line)
        if prose.strip():
            start = start if block else number
            block.append(prose)
        elif block:
            yield start, "\n".join(block)
            block = []
    if block:
        yield start, "\n".join(block)


def main() -> int:
    """Check the files given, or all files of the repository."""
    rules = read_rules((Path(__file__).parent / "banned_phrases.txt").read_text("utf-8"))
    files = sys.argv[1:] or subprocess.run(
        ["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    findings = [
        finding
        for path in files
        if Path(path).suffix in {".md", ".py", *_COMMENT} and path not in _EXEMPT
        if (_ROOT / path).is_file()
        for finding in check(path, (_ROOT / path).read_text("utf-8"), rules)
    ]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
