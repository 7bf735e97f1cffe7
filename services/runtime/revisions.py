"""The revisions of a service's schema, without Alembic, which takes long to import."""

from __future__ import annotations

import re
from pathlib import Path

_SERVICES = Path(__file__).parents[1]
_REVISION = re.compile(r'^revision = "(.+)"$', re.MULTILINE)
_DOWN_REVISION = re.compile(r'^down_revision = "(.+)"$', re.MULTILINE)


def older_revisions(service: str) -> frozenset[str]:
    """The revisions before the head that this code needs: those that have a successor."""
    return _named(service, _DOWN_REVISION)


def head_revisions(service: str) -> frozenset[str]:
    """The head that this code needs, as a set of one."""
    return _named(service, _REVISION) - older_revisions(service)


def _named(service: str, pattern: re.Pattern[str]) -> frozenset[str]:
    files = (_SERVICES / service / "migrations" / "versions").glob("*.py")
    found = (pattern.search(file.read_text(encoding="utf-8")) for file in files)
    return frozenset(match[1] for match in found if match)
