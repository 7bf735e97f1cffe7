"""Id tokens: what their verification accepts, and each attack that it refuses."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from services.accounts.id_tokens import (
    LEEWAY_SECONDS,
    MAX_ID_TOKEN_LENGTH,
    Claims,
    IdToken,
    InvalidIdToken,
    check_claims,
    keys_in,
)

NOW = 1_800_000_000
ISSUER = "https://login.example.com"
CLIENT = "sori"
KEY = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"})
STRANGERS_KEY = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
KEYS = keys_in({"keys": [KEY.as_dict(private=False), EC_KEY.as_dict(private=False)]})
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": "person-1",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": "the nonce",
}


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).decode().rstrip("=")


def signed(claims: Claims = CLAIMS, key: RSAKey | ECKey = KEY, **header: Any) -> str:
    algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
    return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, dict(claims), key)


def verified(text: str) -> Claims:
    token = IdToken.parse(text)
    key = token.key_among(KEYS)
    if key is None:
        raise InvalidIdToken("unknown key")
    return token.verified_by(key)


def check(claims: Claims, nonce: str = "the nonce", audiences: set[str] | None = None) -> None:
    check_claims(
        claims, issuers={ISSUER}, audiences=audiences or {CLIENT}, nonce=nonce, now=float(NOW)
    )


@pytest.mark.parametrize("key", [KEY, EC_KEY], ids=["RSA", "EC"])
def test_a_token_of_the_provider_is_accepted(key: RSAKey | ECKey) -> None:
    claims = verified(signed(key=key))
    check(claims)
    assert claims["sub"] == "person-1"


def hmac_with_public_key() -> str:
    """The confusion of algorithms: the public key as the secret of an HMAC."""
    signing_input = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{encoded(CLAIMS)}"
    secret = KEY.as_pem(private=False)
    return f"{signing_input}.{encoded(hmac.digest(secret, signing_input.encode(), 'sha256'))}"


def with_own_key() -> str:
    header = {"jwk": STRANGERS_KEY.as_dict(private=False)}
    return signed(key=STRANGERS_KEY, **header)


def with_other_claims() -> str:
    header, _, signature = signed().split(".")
    return f"{header}.{encoded({**CLAIMS, 'sub': 'person-2'})}.{signature}"


def ec_with_rsa() -> str:
    return f"{encoded({'alg': 'ES256', 'kid': 'rsa'})}.{encoded(CLAIMS)}.{encoded(b'x' * 64)}"


FORGERIES: list[tuple[str, Callable[[], str]]] = [
    ("alg none", lambda: f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{encoded(CLAIMS)}."),
    ("alg None", lambda: f"{encoded({'alg': 'None', 'kid': 'rsa'})}.{encoded(CLAIMS)}."),
    ("no alg", lambda: f"{encoded({'kid': 'rsa'})}.{encoded(CLAIMS)}.{encoded(b'x')}"),
    ("HMAC with the public key", hmac_with_public_key),
    ("the key of a stranger", lambda: signed(key=STRANGERS_KEY)),
    ("a key in the header", with_own_key),
    ("an unknown kid", lambda: signed(kid="other")),
    ("no kid while there are two keys", lambda: jwt.encode({"alg": "RS256"}, dict(CLAIMS), KEY)),
    ("other claims", with_other_claims),
    ("no signature", lambda: signed().rpartition(".")[0] + "."),
    ("an encrypted token", lambda: "a.b.c.d.e"),
    ("nothing", lambda: ""),
    ("a long text", lambda: "a" * MAX_ID_TOKEN_LENGTH + ".b.c"),
    ("claims that are no object", lambda: f"{encoded({'alg': 'RS256'})}.{encoded([])}.x"),
    ("a header of another type", lambda: f"{encoded(['RS256'])}.{encoded(CLAIMS)}.x"),
    ("a kid of another type", lambda: f"{encoded({'alg': 'RS256', 'kid': 1})}.{encoded({})}.x"),
    ("the algorithm of another kind of keys", ec_with_rsa),
]


@pytest.mark.parametrize("forge", [pytest.param(forge, id=name) for name, forge in FORGERIES])
def test_a_forged_token_is_refused(forge: Callable[[], str]) -> None:
    with pytest.raises(InvalidIdToken):
        verified(forge())


@given(st.text(max_size=100) | st.lists(st.text(max_size=20), min_size=3, max_size=3).map(".".join))
def test_any_text_can_be_checked(text: str) -> None:
    with pytest.raises(InvalidIdToken):
        verified(text)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": "https://evil.example"}, id="another issuer"),
        pytest.param({"iss": ISSUER + "/"}, id="a similar issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"iss": [ISSUER]}, id="a list of issuers"),
        pytest.param({"aud": "another product"}, id="another audience"),
        pytest.param({"aud": []}, id="an empty audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"aud": [CLIENT, "a stranger"], "azp": CLIENT}, id="a stranger's audience"),
        pytest.param({"azp": "another product"}, id="another party"),
        pytest.param({"exp": NOW - LEEWAY_SECONDS}, id="expired"),
        pytest.param({"exp": None}, id="no expiry"),
        pytest.param({"exp": "9999999999"}, id="an expiry as text"),
        pytest.param({"exp": True}, id="an expiry as truth"),
        pytest.param({"exp": float("nan")}, id="an expiry that is not a number"),
        pytest.param({"iat": NOW + LEEWAY_SECONDS + 1}, id="of the future"),
        pytest.param({"iat": None}, id="no time of issue"),
        pytest.param({"nbf": NOW + LEEWAY_SECONDS + 1}, id="not yet valid"),
        pytest.param({"nonce": "another nonce"}, id="another nonce"),
        pytest.param({"nonce": None}, id="no nonce"),
        pytest.param({"nonce": ["the nonce"]}, id="a list of nonces"),
        pytest.param({"sub": ""}, id="an empty subject"),
        pytest.param({"sub": None}, id="no subject"),
        pytest.param({"sub": 7}, id="a number as subject"),
    ],
)
def test_claims_that_do_not_fit_are_refused(changes: Claims) -> None:
    with pytest.raises(InvalidIdToken):
        check({**CLAIMS, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": [CLIENT]}, id="a list of one audience"),
        pytest.param({"azp": CLIENT}, id="this product as the party"),
        pytest.param({"exp": NOW - LEEWAY_SECONDS + 1}, id="a clock that is late"),
        pytest.param({"iat": NOW + LEEWAY_SECONDS}, id="a clock that is early"),
        pytest.param({"exp": NOW + 0.5}, id="fractions of seconds"),
    ],
)
def test_claims_that_fit_are_accepted(changes: Claims) -> None:
    check({**CLAIMS, **changes})


def test_a_token_for_several_own_clients_needs_a_party() -> None:
    both = {CLIENT, "app"}
    check({**CLAIMS, "aud": [CLIENT, "app"], "azp": "app"}, audiences=both)
    with pytest.raises(InvalidIdToken):
        check({**CLAIMS, "aud": [CLIENT, "app"]}, audiences=both)


def test_an_app_may_send_the_hash_of_the_nonce_to_the_provider() -> None:
    check({**CLAIMS, "nonce": hashlib.sha256(b"the nonce").hexdigest()})


def test_a_nonce_that_the_client_does_not_know_is_ignored() -> None:
    check(CLAIMS, nonce="")


def test_a_header_without_kid_means_the_only_key() -> None:
    keys = keys_in({"keys": [KEY.as_dict(private=False)]})
    token = IdToken.parse(jwt.encode({"alg": "RS256"}, dict(CLAIMS), KEY))
    key = token.key_among(keys)
    assert key is not None
    assert token.verified_by(key)["sub"] == "person-1"


def test_keys_for_other_uses_are_left_out() -> None:
    secret = OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True)
    encryption = {**KEY.as_dict(private=False), "use": "enc"}
    broken = {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}
    huge = {"kty": "RSA", "kid": "huge", "n": "a" * 10_000, "e": "AQAB"}
    odd = ["text", None, {"kty": "unknown"}, {}]
    own = EC_KEY.as_dict(private=False)
    keys = keys_in({"keys": [secret, encryption, broken, huge, *odd, own]})
    assert [key.kid for key in keys] == ["ec"]


def test_a_key_holds_only_for_its_algorithm() -> None:
    keys = keys_in({"keys": [{**KEY.as_dict(private=False), "alg": "RS512"}]})
    token = IdToken.parse(signed())
    with pytest.raises(InvalidIdToken):
        token.verified_by(keys[0])


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": "none"}])
def test_other_documents_have_no_keys(document: object) -> None:
    with pytest.raises(ValueError, match="JWKS"):
        keys_in(document)
