"""The public keys and the discovery document."""

from __future__ import annotations

from services.accounts.parts import Parts


class KeyRpcs:
    """The public keys and the discovery document."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
