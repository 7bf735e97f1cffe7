"""Access tokens: JWTs (ES256) that the gateway verifies."""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey

from services.accounts.models import Role

ALGORITHM = "ES256"
AUDIENCE = "sori"


class TokenSigner:
    """Signs access tokens with one key."""

    def __init__(self, key: ECKey, issuer: str, lifetime_seconds: int) -> None:
        self._key = key
        self._issuer = issuer
        self.lifetime_seconds = lifetime_seconds

    def sign(self, subject: str, roles: Iterable[Role], session_id: str = "") -> str:
        """The access token of an account's session, or of an internal client.

        subject: the id of the account or client. session_id: empty for clients.
        """
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": str(uuid4()),
            "roles": list(map(str, roles)),
        }
        if session_id:
            claims["sid"] = session_id
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key)


def new_key() -> ECKey:
    """A new private key, named after its thumbprint (RFC 7638)."""
    key = ECKey.generate_key("P-256", private=True)
    return ECKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


def public_jwk(key: ECKey) -> dict[str, str | list[str]]:
    """The public part of a key, as verifiers get it."""
    return {**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM}
