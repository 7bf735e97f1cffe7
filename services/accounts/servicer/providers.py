"""Logins with OpenID providers."""

from __future__ import annotations

from services.accounts.parts import Parts


class ProviderRpcs:
    """Logins with OpenID providers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
