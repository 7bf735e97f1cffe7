"""The caller's profile, password and e-mail address."""

from __future__ import annotations

from services.accounts.parts import Parts


class ProfileRpcs:
    """The caller's profile, password and e-mail address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
