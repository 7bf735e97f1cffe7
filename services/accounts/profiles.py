"""Changes by learners to their own accounts: profile, password and e-mail address."""

from __future__ import annotations

from uuid import UUID

from services.accounts.attempts import mail_limits
from services.accounts.email_addresses import email_of
from services.accounts.letters import Occasion
from services.accounts.outbox import Outbox
from services.accounts.passwords import Passwords
from services.accounts.profile_fields import ProfileFields
from services.accounts.settings import AccountsSettings
from services.accounts.store.mails import MailStore
from services.accounts.store.profiles import ProfileStore
from services.runtime.language import Language


class Profiles:
    """Changes accounts for their owners."""

    def __init__(
        self,
        settings: AccountsSettings,
        store: ProfileStore,
        mails: MailStore,
        passwords: Passwords,
        outbox: Outbox,
    ) -> None:
        self._settings = settings
        self._store = store
        self._mails = mails
        self._passwords = passwords
        self._outbox = outbox

    async def update(self, account_id: UUID, profile: ProfileFields) -> None:
        """Set the fields of the profile. Errors: AccountNotFound."""
        await self._store.update(account_id, profile)

    async def change_password(
        self,
        account_id: UUID,
        current: str,
        new: str,
        *,
        address: str,
        session_id: UUID | None,
    ) -> None:
        """Replace the password, and end the other sessions.

        address: of the client. session_id: of the caller, which continues; None ends all.
        Errors: InvalidField, CredentialsInvalid, PasswordRefused, TooManyAttempts,
        PasswordChecksExhausted.
        """
        field = "current_password"
        async with self._passwords.checked(account_id, current, address, field) as credentials:
            password_hash = await self._passwords.hash(new, credentials.email or "")
        await self._store.change_password(credentials, password_hash, address, session_id)
        self._outbox.wake()

    async def change_email(
        self, account_id: UUID, email: str, password: str, *, address: str, language: Language
    ) -> None:
        """Queue a mail to a new address; its link changes the address.

        address: of the client. language: of the mail.
        Errors: InvalidField, CredentialsInvalid, TooManyAttempts, PasswordChecksExhausted.
        """
        email = email_of(email)
        await self._passwords.check(account_id, password, address)
        limits = mail_limits(email, address, self._settings.accounts_mails_per_address)
        async with self._passwords.limits.attempt(address, limits):
            await self._mails.queue(Occasion.CHANGE_EMAIL, email, language, account_id)
        self._outbox.wake()
