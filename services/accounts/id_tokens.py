"""Verification of the id tokens of OpenID providers (OpenID Connect Core, 3.1.3.7)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

MAX_ID_TOKEN_LENGTH = 16_384
MAX_KEYS = 50
LEEWAY_SECONDS = 60
"""By how much the provider's clock may differ from this host's."""

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Only asymmetric ones: neither "none", nor HMAC with a public key as the secret."""

MAX_KEY_BITS = 8192
_KEY_TYPES: Mapping[str, type[RSAKey | ECKey | OKPKey]] = {
    "RSA": RSAKey,
    "EC": ECKey,
    "OKP": OKPKey,
}

Claims = Mapping[str, Any]


class InvalidIdToken(Exception):
    """An id token is refused; the message is the reason, for the log."""


@dataclass(frozen=True)
class ProviderKey:
    """A public key of a provider. kid, algorithm: empty if the provider states none."""

    kid: str
    algorithm: str
    key: RSAKey | ECKey | OKPKey


def keys_in(jwks: object) -> tuple[ProviderKey, ...]:
    """The usable signing keys of a JWKS document; others, such as those to encrypt, are left out.

    At most MAX_KEYS. Errors: ValueError if it is no JWKS document.
    """
    listed = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWKS document")
    keys = (_key_of(each) for each in listed[:MAX_KEYS])
    return tuple(key for key in keys if key is not None)


def _key_of(data: object) -> ProviderKey | None:
    if not isinstance(data, dict) or data.get("use", "sig") != "sig":
        return None
    kind = _KEY_TYPES.get(str(data.get("kty")))
    # Verification with a huge modulus takes seconds.
    if kind is None or len(str(data.get("n", ""))) > MAX_KEY_BITS // 6 + 1:
        return None
    try:
        # Only what belongs to the key: providers add fields of their own.
        names = ("kty", "n", "e", "crv", "x", "y")
        key = kind.import_key({name: data[name] for name in names if name in data})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return ProviderKey(str(data.get("kid", "")), str(data.get("alg", "")), key)


@dataclass(frozen=True)
class IdToken:
    """An id token whose signature is not yet verified."""

    text: str
    kid: str
    algorithm: str

    @classmethod
    def parse(cls, text: str) -> IdToken:
        """Read the header. Errors: InvalidIdToken."""
        if len(text) > MAX_ID_TOKEN_LENGTH or not text.isascii() or text.count(".") != 2:
            raise InvalidIdToken("it is not a signed JWT")
        try:
            header = jws.extract_compact(text.encode()).headers()
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidIdToken("its header can't be read") from error
        kid, algorithm = header.get("kid", ""), header.get("alg")
        if not isinstance(kid, str) or algorithm not in ALGORITHMS:
            raise InvalidIdToken("its algorithm is not accepted")
        return cls(text, kid, str(algorithm))

    def key_among(self, keys: Sequence[ProviderKey]) -> ProviderKey | None:
        """The key that the header names; None if it is unknown.

        Without `kid` in the header, a provider has to have exactly one key.
        """
        if self.kid:
            return next((key for key in keys if key.kid == self.kid), None)
        return keys[0] if len(keys) == 1 else None

    def verified_by(self, key: ProviderKey) -> Claims:
        """The claims, if the key has signed them. Errors: InvalidIdToken."""
        if key.algorithm and key.algorithm != self.algorithm:
            raise InvalidIdToken("its algorithm is not that of the key")
        try:
            claims = jwt.decode(self.text, key.key, algorithms=[self.algorithm]).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidIdToken("its signature is wrong") from error
        if not isinstance(claims, dict):
            raise InvalidIdToken("its claims are not an object")
        return claims


def check_claims(
    claims: Claims,
    *,
    issuers: Collection[str],
    audiences: Collection[str],
    nonce: str,
    now: float,
) -> None:
    """Check the claims of a verified id token. Errors: InvalidIdToken.

    issuers: the accepted values of `iss`. audiences: the client ids for which the token may be.
    nonce: that of the login; empty if the client sent none. now: Unix time in seconds.
    """
    if not _is_among(claims.get("iss"), issuers):
        raise InvalidIdToken("it has another issuer")
    _check_audience(claims, audiences)
    _check_times(claims, now)
    if nonce and not _is_nonce(claims.get("nonce"), nonce):
        raise InvalidIdToken("it has another nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise InvalidIdToken("it has no subject")


def _check_audience(claims: Claims, audiences: Collection[str]) -> None:
    stated = claims.get("aud")
    stated = [stated] if isinstance(stated, str) else stated
    # A token that is also for a stranger may come from that stranger.
    if not isinstance(stated, list) or not stated:
        raise InvalidIdToken("it has no audience")
    if not all(_is_among(each, audiences) for each in stated):
        raise InvalidIdToken("it has another audience")
    party = claims.get("azp")
    if (len(stated) > 1 or party is not None) and not _is_among(party, audiences):
        raise InvalidIdToken("it was issued to another client")


def _is_among(value: object, accepted: Collection[str]) -> bool:
    return isinstance(value, str) and value in accepted


def _check_times(claims: Claims, now: float) -> None:
    expire_time, issue_time = _time_in(claims, "exp"), _time_in(claims, "iat")
    start_time = _time_in(claims, "nbf") if "nbf" in claims else issue_time
    if expire_time <= now - LEEWAY_SECONDS:
        raise InvalidIdToken("it has expired")
    if max(issue_time, start_time) > now + LEEWAY_SECONDS:
        raise InvalidIdToken("it is of the future")


def _time_in(claims: Claims, name: str) -> float:
    value = claims.get(name)
    # NaN would pass every comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidIdToken(f"it has no valid {name}")
    return float(value)


def _is_nonce(stated: object, nonce: str) -> bool:
    """Whether a token has the nonce itself, or its hash, as apps send it to Apple."""
    if not isinstance(stated, str):
        return False
    hashed = hashlib.sha256(nonce.encode()).hexdigest()
    forms = (nonce, hashed)
    return any(hmac.compare_digest(stated.encode(), form.encode()) for form in forms)
