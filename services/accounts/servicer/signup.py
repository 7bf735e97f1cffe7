"""Sign-up, verification of e-mail addresses, and password resets."""

from __future__ import annotations

from services.accounts.parts import Parts


class SignupRpcs:
    """Sign-up, verification of e-mail addresses, and password resets."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
