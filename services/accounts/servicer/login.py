"""Login, refresh, log-out and sessions."""

from __future__ import annotations

from services.accounts.parts import Parts


class LoginRpcs:
    """Login, refresh, log-out and sessions."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
