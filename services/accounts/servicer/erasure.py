"""Deletion and export of an account."""

from __future__ import annotations

from services.accounts.parts import Parts


class ErasureRpcs:
    """Deletion and export of an account."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
