"""The identity that a provider states for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.accounts.email_addresses import email_of
from services.accounts.providers import ProfileFields, Provider
from services.runtime.errors import InvalidField
from services.runtime.text import nfc, text_problem

MAX_SUBJECT_LENGTH = 255
MAX_NAME_LENGTH = 100


@dataclass(frozen=True)
class ProviderIdentity:
    """A person at a provider.

    subject: the id at the provider; it never changes. email: in lower case; empty unless the
    provider states that it is verified, because an address of somebody else must not be
    recorded. name: may be empty.
    """

    provider: str
    subject: str
    email: str = ""
    name: str = ""


@dataclass(frozen=True)
class Arrival:
    """The circumstances of a login at a provider.

    language: of a new account. guest_owner_id: of the guest who logs in; a new account receives
        the guest's takes; empty for others. address: of the client, for the audit log.
    """

    language: str
    guest_owner_id: str = ""
    address: str = ""


def identity_of(
    provider: Provider, answer: Mapping[str, Any], fields: ProfileFields
) -> ProviderIdentity | None:
    """The person in the claims of an id token or in a profile; None without a valid subject.

    fields: where the answer has the claims.
    """
    subject = _value_at(answer, fields.sub)
    # Some providers have numbers as ids.
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        return None
    if "\0" in subject:
        return None
    is_verified = provider.email_is_verified or is_true(_value_at(answer, fields.email_verified))
    email = _text_at(answer, fields.email) if is_verified else ""
    name = _valid_name(_text_at(answer, fields.name))
    return ProviderIdentity(provider.name, subject, _valid_email(email), name)


def is_true(value: object) -> bool:
    """Whether a claim is true; Apple also sends texts."""
    return value is True or value == "true"


def _value_at(answer: Mapping[str, Any], path: str) -> object:
    """The value at a path of field names, separated by dots; None if it is missing."""
    value: object = answer if path else None
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text_at(answer: Mapping[str, Any], path: str) -> str:
    value = _value_at(answer, path)
    return value.strip() if isinstance(value, str) else ""


def _valid_name(name: str) -> str:
    """The beginning of a name in Unicode NFC; empty if it contains NUL or too many marks."""
    name = nfc(name[:MAX_NAME_LENGTH], MAX_NAME_LENGTH)
    return "" if text_problem(name, MAX_NAME_LENGTH) else name


def _valid_email(email: str) -> str:
    """The address in lower case; empty if `email_of` refuses it."""
    try:
        return email_of(email)
    except InvalidField:
        return ""
