"""Passwords: their policy, their hashes, and logins with them."""

from __future__ import annotations

from uuid import UUID

from services.accounts.settings import AccountsSettings
from services.runtime.database import Database


class Passwords:
    """Checks and hashes passwords, at most two at the same time and off the event loop."""

    def __init__(self, settings: AccountsSettings, database: Database) -> None:
        self._settings = settings
        self._database = database

    async def log_in(self, email: str, password: str, address: str) -> UUID:
        """The id of the account with these credentials. address: of the client.

        Errors: CredentialsInvalid, EmailUnverified, TooManyAttempts.
        """
        raise NotImplementedError

    async def check(self, account_id: UUID, password: str, address: str) -> None:
        """Return if this is the account's password, or if it has none.

        Errors: CredentialsInvalid, TooManyAttempts.
        """
        raise NotImplementedError

    async def hash(self, password: str, email: str) -> str:
        """The hash of a new password. Errors: PasswordRefused."""
        raise NotImplementedError
