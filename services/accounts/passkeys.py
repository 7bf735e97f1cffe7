"""Passkeys: their registration, and logins with them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from services.accounts import passkey_checks, totp
from services.accounts.attempt_limits import AttemptLimits
from services.accounts.attempts import Limit, address_limit
from services.accounts.errors import (
    EmailUnverified,
    PasskeyInvalid,
    PasskeyRefused,
    TooManyPasskeys,
)
from services.accounts.models import Passkey
from services.accounts.passkey_checks import Credential
from services.accounts.settings import AccountsSettings
from services.accounts.store.attempts import AttemptStore
from services.accounts.store.passkeys import MAX_PASSKEYS, PasskeyStore, Purpose, StoredPasskey
from services.runtime.database import Database

CHALLENGE_BYTES = 32
UNKNOWN_CHALLENGE = "its challenge is unknown, used, expired or for another call"
_OPTIONS, _LOGIN = "passkey_options", "passkey"


class Passkeys:
    """Registers passkeys, and logs in with them."""

    def __init__(self, settings: AccountsSettings, database: Database) -> None:
        self._settings = settings
        self._party = settings.relying_party
        self._store = PasskeyStore(database)
        self._limits = AttemptLimits(AttemptStore(database))

    async def begin_registration(self, account_id: UUID, email: str | None) -> dict[str, Any]:
        """The options for a new passkey. email: of the account; None without one.

        Errors: AccountNotFound, TooManyPasskeys.
        """
        present = await self._store.credential_ids(account_id)
        if len(present) >= MAX_PASSKEYS:
            raise TooManyPasskeys(limit=MAX_PASSKEYS)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        await self._store.add_challenge(challenge, Purpose.REGISTRATION, account_id)
        name = email or str(account_id)
        return passkey_checks.creation_options(self._party, account_id, name, challenge, present)

    async def end_registration(
        self, account_id: UUID, credential: Credential, name: str, address: str
    ) -> tuple[Passkey, Sequence[str]]:
        """Add a passkey; returns it, and recovery codes if it is the first second factor.

        name: in lists; may be empty. address: of the client.
        Errors: AccountNotFound, PasskeyRefused, TooManyPasskeys.
        """
        parsed, challenge = passkey_checks.registration_of(credential)
        if not await self._store.use_challenge(challenge, Purpose.REGISTRATION, account_id):
            raise PasskeyRefused(problem=UNKNOWN_CHALLENGE)
        new = passkey_checks.registered(self._party, parsed, challenge)
        codes = totp.new_recovery_codes()
        hashes = list(map(totp.recovery_code_hash, codes))
        passkey, is_first = await self._store.add(account_id, new, name, hashes, address)
        return passkey, codes if is_first else ()

    async def begin_login(self, address: str, *, is_second_factor: bool) -> dict[str, Any]:
        """The options for a login, or for the second factor of another call.

        address: of the client. Errors: TooManyAttempts.
        """
        async with self._limits.attempt(address, [self._limit(_OPTIONS, address)]):
            challenge = secrets.token_bytes(CHALLENGE_BYTES)
            purpose = Purpose.SECOND_FACTOR if is_second_factor else Purpose.LOGIN
            await self._store.add_challenge(challenge, purpose)
        return passkey_checks.request_options(
            self._party, challenge, needs_user_verification=not is_second_factor
        )

    async def log_in(self, credential: Credential, address: str) -> UUID:
        """The account of a passkey that has verified its user. address: of the client.

        Errors: PasskeyInvalid, EmailUnverified, TooManyAttempts.
        """
        async with self._checked(credential, Purpose.LOGIN, address) as passkey:
            needs_verification = self._settings.accounts_email_verification
        if needs_verification and passkey.email is not None and not passkey.email_verified:
            raise EmailUnverified
        return passkey.account_id

    async def confirm(self, account_id: UUID, credential: Credential, address: str) -> None:
        """Return if a passkey of the account signed the challenge of a second factor.

        address: of the client. Errors: PasskeyInvalid, TooManyAttempts.
        """
        async with self._checked(credential, Purpose.SECOND_FACTOR, address) as passkey:
            if passkey.account_id != account_id:
                raise PasskeyInvalid(problem="it belongs to another account")

    async def list_of(self, account_id: UUID) -> Sequence[Passkey]:
        """The passkeys of an account, the oldest first."""
        return await self._store.list_of(account_id)

    async def delete(self, account_id: UUID, passkey_id: UUID, address: str) -> None:
        """Delete a passkey; deleting it again changes nothing. Errors: AccountNotFound."""
        await self._store.delete(account_id, passkey_id, address)

    @asynccontextmanager
    async def _checked(
        self, credential: Credential, purpose: Purpose, address: str
    ) -> AsyncIterator[StoredPasskey]:
        """The passkey that gave an answer; uses up its challenge.

        The attempt counts as a failure if the context raises an error.
        """
        limit = self._limit(_LOGIN, address)
        async with self._limits.attempt(address, [limit]):
            passkey = await self._verified(credential, purpose, address)
            yield passkey
            await self._limits.succeed([limit, self._limit(_OPTIONS, address)])

    async def _verified(
        self, credential: Credential, purpose: Purpose, address: str
    ) -> StoredPasskey:
        assertion = passkey_checks.assertion_of(credential)
        if not await self._store.use_challenge(assertion.challenge, purpose):
            raise PasskeyInvalid(problem=UNKNOWN_CHALLENGE)
        passkey = await self._store.find(assertion.credential_id)
        if passkey is None:
            raise PasskeyInvalid(problem="no account has it")
        if assertion.user_handle not in (b"", passkey.account_id.bytes):
            raise PasskeyInvalid(problem="it states another account")
        use = passkey_checks.verified(
            self._party,
            assertion,
            passkey.public_key,
            needs_user_verification=purpose is Purpose.LOGIN,
        )
        if not await self._store.record_use(passkey, use, address):
            raise PasskeyInvalid(problem="its sign count did not grow, so it may be a copy")
        return passkey

    def _limit(self, purpose: str, address: str) -> Limit:
        return address_limit(purpose, address, self._settings.accounts_guesses_per_address)
