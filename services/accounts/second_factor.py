"""The second factor: codes of an authenticator app, and recovery codes."""

from __future__ import annotations

from uuid import UUID

from services.accounts.sealing import Sealer
from services.accounts.settings import AccountsSettings
from services.runtime.database import Database


class SecondFactor:
    """Sets up and checks codes."""

    def __init__(self, settings: AccountsSettings, database: Database, sealer: Sealer) -> None:
        self._settings = settings
        self._database = database
        self._sealer = sealer

    async def check(self, account_id: UUID, code: str, address: str) -> None:
        """Return if the account has no second factor, or if the code is valid; uses it up.

        Errors: SecondFactorRequired, TooManyAttempts.
        """
        raise NotImplementedError
