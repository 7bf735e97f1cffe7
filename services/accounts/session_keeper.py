"""Sessions: begun by a login, continued by refreshes, ended by a log-out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.accounts.access_tokens import TokenSigner
from services.accounts.errors import AccountNotFound, SessionEnded
from services.accounts.key_ring import KeyRing
from services.accounts.models import IssuedTokens, Session
from services.accounts.sealing import new_token
from services.accounts.store import Begun, SessionStore


class SessionKeeper:
    """Begins, continues and ends sessions."""

    def __init__(
        self, store: SessionStore, keys: KeyRing, *, roles_need_second_factor: bool = False
    ) -> None:
        """roles_need_second_factor: whether tokens leave out roles of accounts without one."""
        self._store = store
        self._keys = keys
        self._roles_need_second_factor = roles_need_second_factor

    async def begin(self, account_id: UUID, *, device: str, address: str) -> IssuedTokens:
        """Begin a session after a login. device: its name in lists. address: of the client.

        Errors: AccountNotFound, KeysUnavailable.
        """
        signer, token = self._keys.signer(), new_token()
        begun = await self._store.begin(account_id, token, device, address)
        if begun is None:
            raise AccountNotFound(account_id=account_id)
        return self._issued(signer, account_id, begun, token)

    async def refresh(self, token: str, address: str) -> IssuedTokens:
        """Exchange a refresh token for new tokens. address: of the client.

        Errors: SessionEnded, KeysUnavailable.
        """
        # Before the exchange: without a key, the token must stay valid.
        signer = self._keys.signer()
        refreshed = await self._store.refresh(token, new_token(), address)
        if refreshed is None:
            raise SessionEnded
        return self._issued(signer, refreshed.account_id, refreshed, refreshed.successor)

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

    def _issued(
        self, signer: TokenSigner, account_id: UUID, session: Begun, refresh_token: str
    ) -> IssuedTokens:
        is_withheld = self._roles_need_second_factor and not session.has_second_factor
        session_id, roles = str(session.session_id), () if is_withheld else session.roles
        return IssuedTokens(
            signer.sign(str(account_id), roles, session_id),
            signer.lifetime_seconds,
            refresh_token,
            session_id,
            withheld_roles=session.roles if is_withheld else (),
        )
