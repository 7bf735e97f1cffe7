"""Sign-up, verification of e-mail addresses, and password resets.

Every call does the same work whether or not the address has an account: it counts an attempt,
hashes the password if there is one, and queues a mail. The outbox looks up later which letter
the recipient gets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.accounts.attempts import mail_limits
from services.accounts.email_addresses import email_of
from services.accounts.errors import MailTokenInvalid
from services.accounts.letters import Occasion
from services.accounts.outbox import Outbox
from services.accounts.passwords import Passwords, accepted
from services.accounts.profile_fields import ProfileFields
from services.accounts.settings import AccountsSettings
from services.accounts.store.mail_links import MailLinkStore
from services.accounts.store.mails import MailStore
from services.accounts.store.sign_ups import NewAccount, SignUpStore
from services.runtime.language import Language


@dataclass(frozen=True)
class Origin:
    """The origin of a call.

    address: of the client. language: that of its answers. guest_owner_id: of the guest who
    calls; empty for other callers.
    """

    address: str
    language: Language
    guest_owner_id: str = ""


class SignUps:
    """Creates accounts, and applies the links in mails."""

    def __init__(
        self,
        settings: AccountsSettings,
        accounts: SignUpStore,
        links: MailLinkStore,
        mails: MailStore,
        passwords: Passwords,
        outbox: Outbox,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._links = links
        self._mails = mails
        self._passwords = passwords
        self._outbox = outbox

    async def sign_up(
        self, email: str, password: str, profile: ProfileFields, origin: Origin
    ) -> None:
        """Create an account, unless the address has one, and queue a mail to the address.

        Errors: InvalidField, PasswordRefused, TooManyAttempts, PasswordChecksExhausted.
        """
        email = email_of(email)
        accepted(password, email)
        async with self._mail_to(email, origin):
            password_hash = await self._passwords.hash(password, email)
            account = NewAccount(email, password_hash, profile, origin.guest_owner_id)
            await self._accounts.create(
                account, is_verified_later=self._settings.accounts_email_verification
            )

    async def resend_verification(self, email: str, origin: Origin) -> None:
        """Queue the mail that verifies an address again. Errors: InvalidField, TooManyAttempts."""
        await self._request(Occasion.RESEND_VERIFICATION, email, origin)

    async def request_password_reset(self, email: str, origin: Origin) -> None:
        """Queue the mail that resets a password. Errors: InvalidField, TooManyAttempts."""
        await self._request(Occasion.RESET_PASSWORD, email, origin)

    async def verify_email(self, token: str, address: str) -> None:
        """Verify an address, or change it, with the token of a mail. address: of the client.

        Errors: MailTokenInvalid.
        """
        await self._links.verify(token, address)
        # A change of the address queues a mail to the former one.
        self._outbox.wake()

    async def reset_password(self, token: str, new_password: str, address: str) -> None:
        """Set a new password with the token of a mail. address: of the client.

        Errors: MailTokenInvalid, PasswordRefused, PasswordChecksExhausted.
        """
        # An invalid token costs no hash.
        email = await self._links.find_reset(token)
        if email is None:
            raise MailTokenInvalid
        password_hash = await self._passwords.hash(new_password, email)
        await self._links.reset_password(token, password_hash, address)
        await self._passwords.forget_attempts(email, address)
        self._outbox.wake()

    async def _request(self, occasion: Occasion, email: str, origin: Origin) -> None:
        email = email_of(email)
        async with self._mail_to(email, origin):
            await self._mails.queue(occasion, email, origin.language)

    @asynccontextmanager
    async def _mail_to(self, email: str, origin: Origin) -> AsyncIterator[None]:
        """The scope of a call that queues a mail. It stays in the counts even if it succeeds."""
        free = self._settings.accounts_mails_per_address
        limits = mail_limits(email, origin.address, free)
        async with self._passwords.limits.attempt(origin.address, limits):
            yield
        self._outbox.wake()
