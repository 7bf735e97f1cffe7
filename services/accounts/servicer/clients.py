"""Tokens of internal clients."""

from __future__ import annotations

from services.accounts.parts import Parts


class ClientRpcs:
    """Tokens of internal clients."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
