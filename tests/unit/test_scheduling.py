"""The groups by which pytest-xdist shares stacks name files that exist."""

from __future__ import annotations

from tests.conftest import GROUPS, OWN_STACKS, TESTS


def test_every_grouped_file_exists() -> None:
    files = [*GROUPS, *(f"tests/e2e/{name}" for name in OWN_STACKS)]
    assert [file for file in files if not (TESTS.parent / file).exists()] == []
