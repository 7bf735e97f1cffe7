"""Settings of login providers, and how they describe people."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from services.accounts.client_secrets import client_secret, credentials
from services.accounts.provider_identity import identity_of
from services.accounts.providers import PRESETS, Provider, parse_providers

CLIENT = {"client_id": "sori", "client_secret": "the secret"}
APPLE_KEY = ECKey.generate_key("P-256")
APPLE = {
    "client_id": "com.example.sori",
    "apple_key": {
        "team_id": "TEAM",
        "key_id": "KEY",
        "private_key": APPLE_KEY.as_pem(private=True).decode(),
    },
}
CORP = {"issuer": "https://login.example.com", **CLIENT}


def parsed(name: str, **settings: Any) -> Provider:
    return parse_providers(json.dumps({name: settings}))[name]


@pytest.mark.parametrize("name", ["google", "kakao", "naver"])
def test_a_known_provider_needs_only_its_client(name: str) -> None:
    provider = parsed(name, **CLIENT)
    assert provider.is_openid == ("issuer" in PRESETS[name])


def test_a_setting_replaces_that_of_the_preset() -> None:
    assert parsed("google", **CLIENT, scopes="openid").scopes == "openid"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("corp", CLIENT, id="neither issuer nor endpoints"),
        pytest.param("corp", {"issuer": "https://login.example.com"}, id="no client"),
        pytest.param("corp", {**CORP, "issuer": "http://login.example.com"}, id="HTTP"),
        pytest.param("corp", {**CORP, "issuer": "http://[::1"}, id="no URL"),
        pytest.param("corp", {**CORP, "jwks_uri": "http://127.0.0.1/"}, id="HTTP for the keys"),
        pytest.param("corp", {**CORP, "scope": "openid"}, id="an unknown setting"),
        pytest.param("me", CORP, id="a reserved name"),
        pytest.param("Corp", CORP, id="an upper-case name"),
        pytest.param("a/b", CORP, id="a name with a slash"),
        pytest.param("apple", {**APPLE, "apple_key": {"team_id": "T"}}, id="half a key"),
    ],
)
def test_unusable_settings_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        parse_providers(json.dumps({name: settings}))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"google": []}', '{"google": "the secret"}'])
def test_settings_are_an_object_of_objects(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_providers(text)


def test_an_error_contains_no_secret() -> None:
    settings = {**APPLE, "client_secret": "the secret", "odd": "the secret"}
    settings["apple_key"] = {**settings["apple_key"], "private_key": "the secret"}  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="apple_key") as raised:
        parse_providers(json.dumps({"apple": settings}))
    assert "the secret" not in repr(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("own", "url", "trusted"),
    [
        ("https://login.example.com", "https://keys.example.com/jwks", True),
        ("https://login.example.com", "http://127.0.0.1/jwks", False),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/jwks", True),
        ("http://localhost:9000", "http://[::1]:9000/jwks", True),
        ("http://127.0.0.1:9000", "http://login.example.com/jwks", False),
        ("http://127.0.0.1:9000", "file:///etc/passwd", False),
        ("http://127.0.0.1:9000", "", False),
    ],
)
def test_providers_are_called_by_https_except_on_this_machine(
    own: str, url: str, trusted: bool
) -> None:
    assert parsed("corp", **{**CORP, "issuer": own}).trusts(url) is trusted


def test_apples_secret_is_a_short_lived_token_of_the_key() -> None:
    now = int(time.time())
    token = jwt.decode(
        client_secret(parsed("apple", **APPLE), now), APPLE_KEY, algorithms=["ES256"]
    )
    assert token.header["kid"] == "KEY"
    assert token.claims["iss"] == "TEAM"
    assert token.claims["sub"] == "com.example.sori"
    assert token.claims["aud"] == "https://appleid.apple.com"
    assert 0 < token.claims["exp"] - now <= 600


def test_a_secret_is_sent_in_the_form() -> None:
    fields, headers = credentials(parsed("corp", **CORP), 0)
    assert fields == {"client_id": "sori", "client_secret": "the secret"}
    assert headers == {}


def test_a_secret_is_sent_in_the_header_if_the_provider_wants_it() -> None:
    provider = parsed("corp", **CORP, token_authentication="client_secret_basic")
    fields, headers = credentials(provider, 0)
    assert fields == {}
    # "sori:the+secret", as RFC 6749 encodes it.
    assert headers == {"Authorization": "Basic c29yaTp0aGUrc2VjcmV0"}


def test_a_public_client_states_only_its_id() -> None:
    fields, headers = credentials(parsed("corp", **{**CORP, "client_secret": ""}), 0)
    assert fields == {"client_id": "sori"}
    assert headers == {}


def email_in(provider: Provider, **answer: Any) -> str:
    identity = identity_of(provider, {"sub": "1", **answer}, provider.profile_fields)
    assert identity is not None
    return identity.email


@pytest.mark.parametrize(
    ("verified", "known"),
    [(True, True), ("true", True), (False, False), ("false", False), (1, False), (None, False)],
)
def test_only_verified_addresses_are_kept(verified: object, known: bool) -> None:
    email = email_in(parsed("corp", **CORP), email="Kim@Example.com", email_verified=verified)
    assert email == ("kim@example.com" if known else "")


def test_an_address_without_a_statement_is_left_out() -> None:
    assert email_in(parsed("corp", **CORP), email="kim@example.com") == ""


def test_an_operator_can_trust_all_addresses_of_a_provider() -> None:
    provider = parsed("corp", **CORP, email_is_verified=True)
    assert email_in(provider, email="kim@example.com") == "kim@example.com"


@pytest.mark.parametrize(
    "email", ["", "kim", "a@b", "kim@example.com\r\nBcc: all@example.com", "김@example.com", 7]
)
def test_invalid_addresses_are_left_out(email: object) -> None:
    assert email_in(parsed("corp", **CORP), email=email, email_verified=True) == ""


def test_the_profile_of_naver_is_read() -> None:
    provider = parsed("naver", **CLIENT)
    answer = {
        "resultcode": "00",
        "response": {"id": "n-1", "email": "kim@example.com", "name": "김소리"},
    }
    identity = identity_of(provider, answer, provider.profile_fields)
    assert identity is not None
    assert (identity.subject, identity.name) == ("n-1", "김소리")
    # Naver does not state that the address is verified.
    assert identity.email == ""


@pytest.mark.parametrize(
    "answer",
    [{}, {"sub": ""}, {"sub": None}, {"sub": True}, {"sub": "a\0b"}, {"sub": "a" * 256}],
)
def test_an_answer_without_a_subject_is_refused(answer: dict[str, Any]) -> None:
    provider = parsed("corp", **CORP)
    assert identity_of(provider, answer, provider.profile_fields) is None


def test_a_number_can_be_the_subject() -> None:
    provider = parsed("corp", **CORP)
    identity = identity_of(provider, {"sub": 12345}, provider.profile_fields)
    assert identity is not None
    assert identity.subject == "12345"


def test_an_invalid_name_is_left_out() -> None:
    provider = parsed("corp", **CORP)
    identity = identity_of(provider, {"sub": "1", "name": "a\0b"}, provider.profile_fields)
    assert identity is not None
    assert identity.name == ""
