"""Passkeys: their domain and origins, and malformed answers of strangers."""

from __future__ import annotations

import secrets
from uuid import UUID

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts import passkey_checks
from services.accounts.errors import PasskeyInvalid, PasskeyRefused
from services.accounts.passkey_checks import RelyingParty
from tests.authenticator import Authenticator, Json, encoded

APP, ISSUER = "https://app.example.com/", "https://api.example.com"
PARTY = RelyingParty("localhost", ("http://localhost:8000",))


@pytest.mark.parametrize(
    ("rp_id", "origins", "expected"),
    [
        ("", "", RelyingParty("app.example.com", ("https://app.example.com",))),
        ("example.com", "", RelyingParty("example.com", ("https://app.example.com", ISSUER))),
        (
            "example.com",
            "https://m.example.com android:apk-key-hash:x",
            RelyingParty("example.com", ("https://m.example.com", "android:apk-key-hash:x")),
        ),
    ],
)
def test_the_domain_and_the_origins_follow_from_the_settings(
    rp_id: str, origins: str, expected: RelyingParty
) -> None:
    assert RelyingParty.of(rp_id, origins, app_url=APP, issuer=ISSUER) == expected


def test_a_local_stack_has_a_name_because_browsers_refuse_addresses() -> None:
    url = "http://127.0.0.1:8000"
    assert RelyingParty.of("", "", app_url=url, issuer=url) == PARTY


@pytest.mark.parametrize(
    "origins", ["https://evil.example", "https://notexample.com", "https://app.example.com/path"]
)
def test_origins_of_other_domains_are_refused(origins: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        RelyingParty.of("example.com", origins, app_url=APP, issuer=ISSUER)


def registered(credential: Json) -> None:
    parsed, challenge = passkey_checks.registration_of(credential)
    passkey_checks.registered(PARTY, parsed, challenge)


def answered() -> Json:
    """The answer of an authenticator to the options of a registration."""
    challenge = secrets.token_bytes(32)
    options = passkey_checks.creation_options(PARTY, UUID(int=7), "kim", challenge, [])
    return Authenticator("http://localhost:8000").create(options)


CBOR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
).map(cbor2.dumps)


@given(st.binary() | CBOR)
def test_a_malformed_attestation_is_refused(attestation: bytes) -> None:
    credential = answered()
    credential["response"]["attestationObject"] = encoded(attestation)
    with pytest.raises(PasskeyRefused):
        registered(credential)


@pytest.mark.parametrize("prefix", [b"\x81", b"\xa1", b"\xc6", b"\x9f", b"\xd8\x1c\x81"])
def test_a_deeply_nested_attestation_is_refused(prefix: bytes) -> None:
    credential = answered()
    credential["response"]["attestationObject"] = encoded(prefix * 4000)
    with pytest.raises(PasskeyRefused, match="attestationObject was malformed"):
        registered(credential)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FIELDS = ("id", "rawId", "type", "response", "clientExtensionResults", "authenticatorAttachment")


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON))
def test_a_malformed_answer_is_refused(credential: Json) -> None:
    with pytest.raises(PasskeyRefused):
        passkey_checks.registration_of(credential)
    with pytest.raises(PasskeyInvalid):
        passkey_checks.assertion_of(credential)


def test_a_registered_passkey_is_accepted() -> None:
    registered(answered())
