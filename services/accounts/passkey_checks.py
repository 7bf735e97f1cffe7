"""Passkeys (WebAuthn): the options for browsers, and the checks of their answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json_dict,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from services.accounts.errors import PasskeyInvalid, PasskeyRefused
from services.accounts.return_to import origin_of
from services.runtime.text import shortened

PRODUCT = "Sori"
"""The product's name in the dialogs of browsers."""

CHALLENGE_SECONDS = 300
"""How long the options of a call are valid."""

MAX_PROBLEM_LENGTH = 200

APP_ORIGIN = "android:apk-key-hash:"
"""The beginning of the origin of an Android app."""

_LOOPBACK = "127.0.0.1"
_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

Credential = Mapping[str, Any]
"""A PublicKeyCredential, as `toJSON()` writes it."""


@dataclass(frozen=True)
class RelyingParty:
    """The product as passkeys know it.

    rp_id: the domain that passkeys belong to; those of another one do not work. origins: of the
    pages and apps that may use them.
    """

    rp_id: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, rp_id: str, origins: str, *, app_url: str, issuer: str) -> Self:
        """The party of the settings.

        rp_id: empty means the host of `app_url`. origins: separated by spaces; empty means those
        of `app_url` and `issuer`, if they are in the domain. Errors: ValueError for an origin
        that is not in the domain.
        """
        own = list(dict.fromkeys(map(_named_origin, (app_url, issuer))))
        rp_id = rp_id or urlsplit(own[0]).hostname or ""
        chosen = origins.split() or [each for each in own if _is_in(rp_id, each)]
        for each in chosen:
            if not each.startswith(APP_ORIGIN) and not _is_in(rp_id, each):
                raise ValueError(f"{each} is not an origin of {rp_id}, such as https://{rp_id}")
        return cls(rp_id, tuple(chosen))


@dataclass(frozen=True)
class NewPasskey:
    """A passkey that was registered. sign_count: 0 if the authenticator does not count."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    is_backed_up: bool


@dataclass(frozen=True)
class Assertion:
    """What a passkey answered, before the check of its signature.

    user_handle: the account that the passkey was registered for; empty if it does not state one.
    """

    credential_id: bytes
    user_handle: bytes
    challenge: bytes
    credential: AuthenticationCredential = field(repr=False)


@dataclass(frozen=True)
class Use:
    """A use of a passkey whose signature is right. sign_count: as the authenticator states it."""

    sign_count: int
    is_backed_up: bool


def creation_options(
    party: RelyingParty, account_id: UUID, account: str, challenge: bytes, present: Iterable[bytes]
) -> dict[str, Any]:
    """The options for `navigator.credentials.create`.

    account: the name of the account in dialogs, such as its e-mail address. present: the ids of
    credentials that the account has; their authenticators refuse a second one.
    """
    options = generate_registration_options(
        rp_id=party.rp_id,
        rp_name=PRODUCT,
        user_id=account_id.bytes,
        user_name=account,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        # A login does not ask for an e-mail address, so the authenticator must find the passkey.
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in present],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json_dict(options)


def request_options(
    party: RelyingParty, challenge: bytes, *, needs_user_verification: bool
) -> dict[str, Any]:
    """The options for `navigator.credentials.get`.

    They name no credentials, so they do not reveal which passkeys an account has.
    """
    verification = (
        UserVerificationRequirement.REQUIRED
        if needs_user_verification
        else UserVerificationRequirement.PREFERRED
    )
    options = generate_authentication_options(
        rp_id=party.rp_id,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        user_verification=verification,
    )
    return options_to_json_dict(options)


def registration_of(credential: Credential) -> tuple[RegistrationCredential, bytes]:
    """The answer to `creation_options` before its check, and its challenge.

    Errors: PasskeyRefused.
    """
    try:
        parsed = parse_registration_credential_json(dict(credential))
        return parsed, parse_client_data_json(parsed.response.client_data_json).challenge
    # The library raises more than its own errors for malformed input.
    except Exception as error:
        raise PasskeyRefused(problem=_text(error)) from error


def registered(
    party: RelyingParty, credential: RegistrationCredential, challenge: bytes
) -> NewPasskey:
    """The new passkey in an answer to `creation_options`. Errors: PasskeyRefused."""
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.rp_id,
            expected_origin=list(party.origins),
            supported_pub_key_algs=_ALGORITHMS,
        )
        # A key that no signature can fit would lock its owner out.
        decoded_public_key_to_cryptography(
            decode_credential_public_key(verified.credential_public_key)
        )
    except Exception as error:
        raise PasskeyRefused(problem=_text(error)) from error
    return NewPasskey(
        verified.credential_id,
        verified.credential_public_key,
        verified.sign_count,
        verified.credential_backed_up,
    )


def assertion_of(credential: Credential) -> Assertion:
    """The answer to `request_options`, before its check. Errors: PasskeyInvalid."""
    try:
        parsed = parse_authentication_credential_json(dict(credential))
        challenge = parse_client_data_json(parsed.response.client_data_json).challenge
    except Exception as error:
        raise PasskeyInvalid(problem=_text(error)) from error
    return Assertion(parsed.raw_id, parsed.response.user_handle or b"", challenge, parsed)


def verified(
    party: RelyingParty, assertion: Assertion, public_key: bytes, *, needs_user_verification: bool
) -> Use:
    """Check the signature of an answer, its origin and its domain.

    The caller checks the challenge and the sign count, which the database has.
    Errors: PasskeyInvalid.
    """
    try:
        checked = verify_authentication_response(
            credential=assertion.credential,
            expected_challenge=assertion.challenge,
            expected_rp_id=party.rp_id,
            expected_origin=list(party.origins),
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=needs_user_verification,
        )
    except Exception as error:
        raise PasskeyInvalid(problem=_text(error)) from error
    return Use(checked.new_sign_count, checked.credential_backed_up)


def _named_origin(url: str) -> str:
    """The origin of a URL. Browsers refuse passkeys for addresses, so loopback gets its name."""
    origin, host = origin_of(url), urlsplit(url).hostname or ""
    return origin.replace(host, "localhost", 1) if host == _LOOPBACK else origin


def _is_in(rp_id: str, origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    return origin_of(origin) == origin and (host == rp_id or host.endswith(f".{rp_id}"))


def _text(error: Exception) -> str:
    """The problem in one short text."""
    text = str(error) if isinstance(error, WebAuthnException) else "malformed"
    # What follows is advice for callers of the library.
    text = text.partition(". See __cause__")[0]
    # The client's JSON may have escaped surrogates, which UTF-8 has no bytes for.
    return shortened(text, MAX_PROBLEM_LENGTH).encode(errors="replace").decode()
