"""Access tokens state the issuer, the account, its roles and the session, and expire."""

from __future__ import annotations

import time

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from services.accounts.access_tokens import TokenSigner, new_key, public_jwk
from services.accounts.models import Role

ISSUER = "https://api.example.com"


def test_a_token_is_verified_by_the_public_key() -> None:
    key = new_key()
    signed = TokenSigner(key, ISSUER, 600).sign("account", [Role.OPERATOR], "session")
    token = jwt.decode(signed, ECKey.import_key(public_jwk(key)), algorithms=["ES256"])
    assert token.header["kid"] == key.kid
    claims = token.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ISSUER, "account", "sori")
    assert (claims["roles"], claims["sid"]) == (["operator"], "session")
    assert claims["exp"] - claims["iat"] == 600
    assert abs(claims["iat"] - time.time()) < 60


def test_a_token_of_another_key_is_refused() -> None:
    signed = TokenSigner(new_key(), ISSUER, 600).sign("account", [])
    with pytest.raises(BadSignatureError):
        jwt.decode(signed, ECKey.import_key(public_jwk(new_key())), algorithms=["ES256"])


def test_tokens_of_internal_clients_have_no_session() -> None:
    key = new_key()
    signed = TokenSigner(key, ISSUER, 600).sign("client", [])
    assert "sid" not in jwt.decode(signed, key, algorithms=["ES256"]).claims


def test_the_published_key_has_no_private_part() -> None:
    published = public_jwk(new_key())
    assert published.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
