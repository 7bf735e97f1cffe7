"""The letter of a mail, by its occasion and by the account of the address."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from services.accounts.letters import (
    Letter,
    Occasion,
    Purpose,
    QueuedMail,
    RecipientAccount,
    letter_for,
)
from services.accounts.mail_texts import Kind
from services.runtime.language import Language

MAIL_ID, OWN, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
KO, EN = Language.KOREAN, Language.ENGLISH
SIGN_UP = {"password_hash": "$argon2id$"}
UNVERIFIED = RecipientAccount(OWN, email_verified=False, language=KO)
VERIFIED = RecipientAccount(OWN, email_verified=True, language=KO)
FOREIGN = RecipientAccount(OTHER, email_verified=True, language=KO)

RESET = Letter(Kind.RESET_PASSWORD, KO, Purpose.RESET_PASSWORD, OWN)
EXISTS = Letter(Kind.ACCOUNT_EXISTS, KO, Purpose.RESET_PASSWORD, OWN)


def queued(occasion: Occasion) -> QueuedMail:
    sign_up = SIGN_UP if occasion is Occasion.SIGN_UP else None
    return QueuedMail(MAIL_ID, occasion, "a@example.com", EN, OWN, sign_up)


@pytest.mark.parametrize(
    ("occasion", "account", "letter"),
    [
        (
            Occasion.SIGN_UP,
            UNVERIFIED,
            Letter(Kind.VERIFY_EMAIL, EN, Purpose.VERIFY_EMAIL, OWN, SIGN_UP),
        ),
        (Occasion.SIGN_UP, VERIFIED, EXISTS),
        (Occasion.SIGN_UP, None, None),
        (
            Occasion.RESEND_VERIFICATION,
            UNVERIFIED,
            Letter(Kind.VERIFY_EMAIL, KO, Purpose.VERIFY_EMAIL, OWN),
        ),
        (Occasion.RESEND_VERIFICATION, VERIFIED, None),
        (Occasion.RESEND_VERIFICATION, None, None),
        (Occasion.RESET_PASSWORD, VERIFIED, RESET),
        (Occasion.RESET_PASSWORD, UNVERIFIED, RESET),
        (Occasion.RESET_PASSWORD, None, None),
        (
            Occasion.CHANGE_EMAIL,
            None,
            Letter(Kind.CHANGE_EMAIL, EN, Purpose.CHANGE_EMAIL, OWN),
        ),
        (Occasion.CHANGE_EMAIL, VERIFIED, None),
        (
            Occasion.CHANGE_EMAIL,
            FOREIGN,
            Letter(Kind.ACCOUNT_EXISTS, KO, Purpose.RESET_PASSWORD, OTHER),
        ),
        (Occasion.PASSWORD_CHANGED, VERIFIED, Letter(Kind.PASSWORD_CHANGED, EN)),
        (Occasion.EMAIL_CHANGED, None, Letter(Kind.EMAIL_CHANGED, EN)),
    ],
)
def test_the_letter_fits_the_account(
    occasion: Occasion, account: RecipientAccount | None, letter: Letter | None
) -> None:
    assert letter_for(queued(occasion), account) == letter


def test_only_the_link_of_a_reset_is_short_lived() -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    assert {purpose: purpose.valid_for for purpose in Purpose} == {
        Purpose.VERIFY_EMAIL: day,
        Purpose.CHANGE_EMAIL: day,
        Purpose.RESET_PASSWORD: hour,
    }
