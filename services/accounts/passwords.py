"""Passwords: new ones, checks with limits on guesses, and logins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from argon2 import PasswordHasher

from services.accounts.attempt_limits import AttemptLimits
from services.accounts.attempts import guess_limits
from services.accounts.email_addresses import email_of
from services.accounts.errors import CredentialsInvalid, EmailUnverified, PasswordRefused
from services.accounts.password_hashes import OWASP, PasswordHashes
from services.accounts.password_policy import MAX_LENGTH, is_readable, normalised, problem_of
from services.accounts.settings import AccountsSettings
from services.accounts.store.attempts import AttemptStore
from services.accounts.store.credentials import Credentials, CredentialStore
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField

_LOGIN, _PASSWORD = "login", "password"


class Passwords:
    """Checks and hashes passwords, at most two at the same time and off the event loop."""

    def __init__(
        self, settings: AccountsSettings, database: Database, hasher: PasswordHasher = OWASP
    ) -> None:
        self._settings = settings
        self._store = CredentialStore(database)
        self._hashes = PasswordHashes(queue=settings.accounts_password_queue, hasher=hasher)
        self.limits = AttemptLimits(AttemptStore(database))

    async def log_in(self, email: str, password: str, address: str) -> UUID:
        """The id of the account with these credentials. address: of the client.

        Unknown addresses, accounts without a password and wrong passwords cost the same work.
        Errors: InvalidField, CredentialsInvalid, EmailUnverified, TooManyAttempts,
        PasswordChecksExhausted.
        """
        email, password = email_of(email), readable(password, "password")
        free = self._settings.accounts_guesses_per_address
        limits = guess_limits(_LOGIN, email, address, free)
        async with self.limits.attempt(address, limits):
            credentials = await self._store.find(email)
            credentials = await self._verified(credentials, password)
            await self.limits.succeed(limits)
        if self._settings.accounts_email_verification and not credentials.email_verified:
            raise EmailUnverified
        return credentials.account_id

    async def check(self, account_id: UUID, password: str, address: str) -> None:
        """Return if this is the account's password, or if it has none.

        address: of the client.
        Errors: InvalidField, CredentialsInvalid, TooManyAttempts, PasswordChecksExhausted.
        """
        async with self.checked(account_id, password, address):
            return

    @asynccontextmanager
    async def checked(
        self, account_id: UUID, password: str, address: str, field: str = "password"
    ) -> AsyncIterator[Credentials]:
        """The same as a context, which has the credentials of the account.

        field: of the request, for errors.
        """
        password = readable(password, field)
        credentials = await self._store.get(account_id)
        if credentials.password_hash is None:
            yield credentials
            return
        free = self._settings.accounts_guesses_per_address
        limits = guess_limits(_PASSWORD, str(account_id), address, free)
        async with self.limits.attempt(address, limits):
            credentials = await self._verified(credentials, password)
            await self.limits.succeed(limits)
            yield credentials

    async def hash(self, password: str, email: str) -> str:
        """The hash of a new password. email: of the account; may be empty.

        Errors: PasswordRefused, PasswordChecksExhausted.
        """
        return await self._hashes.hash(accepted(password, email))

    async def forget_attempts(self, email: str, address: str) -> None:
        """Let the learner log in at once after a password reset. address: of the client."""
        await self.limits.forget(guess_limits(_LOGIN, email, address, 0))

    async def _verified(self, credentials: Credentials | None, password: str) -> Credentials:
        stored = None if credentials is None else credentials.password_hash
        verification = await self._hashes.verify(password, stored)
        if credentials is None or stored is None or not verification.is_right:
            raise CredentialsInvalid
        if verification.is_outdated:
            fresh = await self._hashes.hash(password)
            return await self._store.rehash(credentials, fresh)
        return credentials


def readable(password: str, field: str) -> str:
    """The password in NFKC. Errors: InvalidField if it is out of the bounds of stored passwords."""
    normal = normalised(password)
    if not is_readable(normal):
        problem = f"must be text of at most {MAX_LENGTH} characters"
        raise InvalidField(FieldViolation(field, problem))
    return normal


def accepted(password: str, email: str) -> str:
    """A new password in NFKC. email: of the account; may be empty. Errors: PasswordRefused."""
    normal = normalised(password)
    if problem := problem_of(normal, email):
        raise PasswordRefused(problem)
    return normal
