"""Sessions: begun by a login, continued by refreshes, ended by a log-out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.accounts.errors import AccountNotFound, SessionEnded
from services.accounts.key_ring import KeyRing
from services.accounts.models import IssuedTokens, Session
from services.accounts.sealing import new_token
from services.accounts.store import SessionStore


class SessionKeeper:
    """Begins, continues and ends sessions."""

    def __init__(self, store: SessionStore, keys: KeyRing) -> None:
        self._store = store
        self._keys = keys

    async def begin(self, account_id: UUID, *, device: str, address: str) -> IssuedTokens:
        """Begin a session after a login. device: its name in lists. address: of the client.

        Errors: AccountNotFound, KeysUnavailable.
        """
        signer, token = self._keys.signer(), new_token()
        begun = await self._store.begin(account_id, token, device, address)
        if begun is None:
            raise AccountNotFound(account_id=account_id)
        session_id = str(begun.session_id)
        access_token = signer.sign(str(account_id), begun.roles, session_id)
        return IssuedTokens(access_token, signer.lifetime_seconds, token, session_id)

    async def refresh(self, token: str, address: str) -> IssuedTokens:
        """Exchange a refresh token for new tokens. address: of the client.

        Errors: SessionEnded, KeysUnavailable.
        """
        # Before the exchange: without a key, the token must stay valid.
        signer = self._keys.signer()
        refreshed = await self._store.refresh(token, new_token(), address)
        if refreshed is None:
            raise SessionEnded
        session_id = str(refreshed.session_id)
        access_token = signer.sign(str(refreshed.account_id), refreshed.roles, session_id)
        return IssuedTokens(access_token, signer.lifetime_seconds, refreshed.successor, session_id)

    async def end(self, token: str, *, everywhere: bool) -> None:
        """End the session of a refresh token, or all of its account; unknown tokens do nothing."""
        found = await self._store.find(token)
        if found is None:
            return
        account_id, session_id = found
        if everywhere:
            await self._store.end_all(account_id)
        else:
            await self._store.end(account_id, session_id)

    async def end_one(self, account_id: UUID, session_id: UUID) -> None:
        """End a session of an account; a session of another account does not exist for it."""
        await self._store.end(account_id, session_id)

    async def end_all(self, account_id: UUID, *, except_session: UUID | None = None) -> None:
        """End all sessions of an account. except_session: the one that continues."""
        await self._store.end_all(account_id, except_session)

    async def list_open(self, account_id: UUID) -> Sequence[Session]:
        """The sessions of an account that have not ended, the latest refreshed first."""
        return await self._store.list_open(account_id)
