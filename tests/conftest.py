"""Which tests share a worker of pytest-xdist (`--dist loadgroup`).

All tests of a file run on one worker, one after another, so that each fixture of a
module starts once. Files that share a stack of wider scope run on one worker too.
A test may name another group with `pytest.mark.xdist_group`.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does.
settings.register_profile("sori", deadline=None)
settings.load_profile("sori")

SHARED_STACKS = ("stack", "shared_cluster")
"""Fixtures of session or package scope that start a stack, unless a module overrides them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group_of(item)))


def group_of(item: pytest.Item) -> str:
    """The stack that the test shares with other files, or else its file."""
    if isinstance(item, pytest.Function):
        for name in SHARED_STACKS:
            if name in item.fixturenames and not hasattr(item.module, name):
                return name
    return item.nodeid.partition("::")[0]
