"""Check prose against the style: `python docs/style/check.py [FILES]`.

Reads documents, comments, docstrings and other strings, and names of tests. Refuses
the phrases of `banned_phrases.txt`. By default reads all files that Git tracks.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_COMMENT_MARKS = {
    ".conf": "#",
    ".Dockerfile": "#",
    ".j2": "#",
    ".js": "//",
    ".lua": "--",
    ".mjs": "//",
    ".proto": "//",
    ".sh": "#",
    ".sql": "--",
    ".toml": "#",
    ".txt": "#",
}
_MARKS_BY_NAME = {"Makefile": "#", ".env.example": "#"}
# Values of YAML are prose too, such as the description of an alert.
_PROSE = {".md", ".yaml", ".yml"}
_EXEMPT = {
    # They list the phrases.
    "docs/style/banned_phrases.txt",
    "tests/unit/test_prose.py",
}
# Comment marks at the beginning of a line, and the backslash that continues a string.
_LINE_BREAK = re.compile(r"\s*\\?\n\s*(?:#|//|--)?[ \t]*")
_TEST_NAME = re.compile(r"^\s*(?:async )?(?:def|class) (test_\w+|Test\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """A phrase that is refused, and the advice what to write instead."""

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
    """The rules of `banned_phrases.txt`. Errors: ValueError for a line without advice."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [
        Rule(re.compile(pattern, re.IGNORECASE), advice)
        for pattern, advice in (line.split(" => ", 1) for line in lines)
    ]


def is_checked(path: str) -> bool:
    """Whether the file has prose that the rules apply to."""
    suffix, name = Path(path).suffix, Path(path).name
    is_known = suffix in {".py", *_PROSE, *_COMMENT_MARKS} or name in _MARKS_BY_NAME
    return is_known and path not in _EXEMPT


def check(path: str, text: str, rules: Iterable[Rule]) -> Iterator[Finding]:
    """The refused phrases in the prose of one file, block by block."""
    for first_line, block in _blocks(path, text):
        lines = _LINE_BREAK.sub("\n", block)
        # A phrase may continue on the next line.
        prose = lines.replace("\n", " ")
        for rule in rules:
            for found in rule.pattern.finditer(prose):
                line = first_line + lines[: found.start()].count("\n")
                yield Finding(path, line, found.group(), rule.advice)


def _blocks(path: str, text: str) -> Iterator[tuple[int, str]]:
    """The prose of a file as (first line, text)."""
    suffix, name = Path(path).suffix, Path(path).name
    if suffix == ".py":
        yield from _python_blocks(text)
    elif suffix in _PROSE:
        yield from _joined(enumerate(text.splitlines(), 1))
    else:
        mark = _MARKS_BY_NAME.get(name) or _COMMENT_MARKS[suffix]
        lines = (line.partition(mark)[2] for line in text.splitlines())
        yield from _joined(enumerate(lines, 1))


def _python_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Comments, strings, and names of tests as words."""
    comments: dict[int, str] = {}
    strings = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in strings:
            yield token.start[0], token.string
        elif token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("#")
    lines = ((line, comments.get(line, "")) for line in range(1, text.count("\n") + 2))
    yield from _joined(lines)
    for found in _TEST_NAME.finditer(text):
        yield text.count("\n", 0, found.start(1)) + 1, found[1].replace("_", " ")


def _joined(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Join neighbouring lines of prose; an empty line ends a block."""
    block: list[str] = []
    start = 0
    for number, line in lines:
        if line.strip():
            start = start if block else number
            block.append(line)
        elif block:
            yield start, "\n".join(block)
            block = []
    if block:
        yield start, "\n".join(block)


def _tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def main() -> int:
    """Check the files given, or all files of the repository. Returns the exit status."""
    rules = read_rules((Path(__file__).parent / "banned_phrases.txt").read_text("utf-8"))
    count = 0
    for path in filter(is_checked, sys.argv[1:] or _tracked_files()):
        if (file := _ROOT / path).is_file():
            for finding in check(path, file.read_text("utf-8"), rules):
                count += 1
                print(finding)
    if count:
        print(f"{count} phrases to rewrite; docs/style/banned_phrases.txt has the list.")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
