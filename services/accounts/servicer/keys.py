"""The public keys and the discovery document."""

from __future__ import annotations

import json

from google.api.httpbody_pb2 import HttpBody

from services.accounts.access_tokens import ALGORITHM
from services.accounts.parts import Parts
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb

_JSON = "application/json"

CACHED = (("cache-control", "public, max-age=60"),)
"""Short, because the gateway caches the keys as well."""


class KeyRpcs:
    """Publishes what verifiers of access tokens need."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def GetKeys(self, request: pb.GetKeysRequest, context: Context) -> HttpBody:
        keys = self._parts.keys.public_keys()
        await context.send_initial_metadata(CACHED)
        return HttpBody(content_type=_JSON, data=keys.encode())

    async def GetDiscovery(self, request: pb.GetDiscoveryRequest, context: Context) -> HttpBody:
        document = json.dumps(discovery_document(self._parts.settings.issuer))
        await context.send_initial_metadata(CACHED)
        return HttpBody(content_type=_JSON, data=document.encode())


def discovery_document(issuer: str) -> dict[str, object]:
    """What clients learn of the issuer (OpenID Connect Discovery)."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "token_endpoint": f"{issuer}/auth/client-token",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
