"""The choice of the letter for a queued mail, made when the mail is sent. Pure.

The call that causes a mail only queues it, with the same work for every address. Whether the
address has an account is looked up later, so that no answer depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from services.accounts import links
from services.accounts.mail_texts import Kind
from services.runtime.language import Language


class Occasion(StrEnum):
    """The reason why a mail is queued."""

    SIGN_UP = "sign_up"
    RESEND_VERIFICATION = "resend_verification"
    RESET_PASSWORD = "reset_password"  # noqa: S105 (a name)
    CHANGE_EMAIL = "change_email"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    EMAIL_CHANGED = "email_changed"

    @property
    def expires_after(self) -> timedelta:
        """How long failed attempts to send the mail are repeated."""
        return timedelta(hours=1) if self is Occasion.RESET_PASSWORD else timedelta(days=1)


class Purpose(StrEnum):
    """The effect of the token in a link."""

    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105

    @property
    def valid_for(self) -> timedelta:
        """How long a token of this purpose is valid. The texts of the mails state it."""
        return timedelta(hours=1) if self is Purpose.RESET_PASSWORD else timedelta(days=1)

    @property
    def page(self) -> str:
        """The page of the web app that uses the token."""
        return links.RESET_PASSWORD if self is Purpose.RESET_PASSWORD else links.VERIFY_EMAIL


@dataclass(frozen=True)
class QueuedMail:
    """A mail that waits. account_id: None where only the recipient is known.

    sign_up: what the account gets if the link is opened; None except for a sign-up. attempts:
    1 for the first attempt to send it.
    """

    mail_id: UUID
    occasion: Occasion
    recipient: str
    language: Language
    account_id: UUID | None = None
    sign_up: Mapping[str, str] | None = field(default=None, repr=False)
    attempts: int = 1


@dataclass(frozen=True)
class RecipientAccount:
    """The account that has the recipient's address now."""

    account_id: UUID
    email_verified: bool
    language: Language


@dataclass(frozen=True)
class Letter:
    """The content of a mail that is sent.

    purpose: of the token in its link; None for a letter without a link. account_id: of the
    token. sign_up: as in QueuedMail.
    """

    kind: Kind
    language: Language
    purpose: Purpose | None = None
    account_id: UUID | None = None
    sign_up: Mapping[str, str] | None = field(default=None, repr=False)


def letter_for(mail: QueuedMail, account: RecipientAccount | None) -> Letter | None:
    """The letter of a queued mail; None if the recipient gets none.

    account: None if no account has the recipient's address.
    """
    match mail.occasion:
        case Occasion.PASSWORD_CHANGED:
            return Letter(Kind.PASSWORD_CHANGED, mail.language)
        case Occasion.EMAIL_CHANGED:
            return Letter(Kind.EMAIL_CHANGED, mail.language)
        case Occasion.CHANGE_EMAIL:
            return _confirmation(mail, account)
        case Occasion.SIGN_UP | Occasion.RESEND_VERIFICATION:
            return None if account is None else _verification(mail, account)
        case Occasion.RESET_PASSWORD:
            return None if account is None else _reset(Kind.RESET_PASSWORD, account)


def _confirmation(mail: QueuedMail, account: RecipientAccount | None) -> Letter | None:
    if account is None:
        return Letter(Kind.CHANGE_EMAIL, mail.language, Purpose.CHANGE_EMAIL, mail.account_id)
    if account.account_id == mail.account_id:
        return None
    return _reset(Kind.ACCOUNT_EXISTS, account)


def _verification(mail: QueuedMail, account: RecipientAccount) -> Letter | None:
    if not account.email_verified:
        return Letter(
            Kind.VERIFY_EMAIL,
            mail.language if mail.sign_up else account.language,
            Purpose.VERIFY_EMAIL,
            account.account_id,
            mail.sign_up,
        )
    is_sign_up = mail.occasion is Occasion.SIGN_UP
    return _reset(Kind.ACCOUNT_EXISTS, account) if is_sign_up else None


def _reset(kind: Kind, account: RecipientAccount) -> Letter:
    return Letter(kind, account.language, Purpose.RESET_PASSWORD, account.account_id)
