"""Sessions: begun by a login, continued by refreshes, ended by a log-out."""

from __future__ import annotations

from uuid import UUID

from services.accounts.models import IssuedTokens


class SessionKeeper:
    """Begins, continues and ends sessions."""

    async def begin(self, account_id: UUID, *, device: str, address: str) -> IssuedTokens:
        """Begin a session after a login. device: its name in lists. address: of the client.

        Errors: AccountNotFound, KeysUnavailable.
        """
        raise NotImplementedError

    async def end_all(self, account_id: UUID, *, except_session: UUID | None = None) -> None:
        """End all sessions of an account. except_session: the one that continues."""
        raise NotImplementedError
