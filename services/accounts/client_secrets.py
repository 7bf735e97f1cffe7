"""The credentials of this product at a provider's token endpoint (RFC 6749, 2.3)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote_plus

from joserfc import jwt
from joserfc.jwk import ECKey

from services.accounts.providers import AppleKey, Provider

APPLE_AUDIENCE = "https://appleid.apple.com"
APPLE_SECRET_SECONDS = 300
"""Apple allows half a year; each secret is used at once."""


def credentials(provider: Provider, now: float) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The form fields and the headers that state the client id and its secret.

    now: Unix time in seconds.
    """
    secret = client_secret(provider, now)
    if secret and provider.token_authentication == "client_secret_basic":  # noqa: S105
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
        return {}, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    fields = {"client_id": provider.client_id}
    return {**fields, "client_secret": secret} if secret else fields, {}


def client_secret(provider: Provider, now: float) -> str:
    """The secret: that of the settings, or for Apple a JWT that its key signs; may be empty."""
    if provider.apple_key is None:
        return provider.client_secret.get_secret_value()
    return _apple_secret(provider.apple_key, provider.client_id, int(now))


def _apple_secret(key: AppleKey, client_id: str, now: int) -> str:
    header = {"alg": "ES256", "kid": key.key_id}
    claims = {
        "iss": key.team_id,
        "sub": client_id,
        "aud": APPLE_AUDIENCE,
        "iat": now,
        "exp": now + APPLE_SECRET_SECONDS,
    }
    private = ECKey.import_key(key.private_key.get_secret_value())
    return jwt.encode(header, claims, private, algorithms=["ES256"])
