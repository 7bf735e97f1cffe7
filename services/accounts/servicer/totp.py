"""The second factor."""

from __future__ import annotations

from services.accounts.parts import Parts


class TotpRpcs:
    """The second factor."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
