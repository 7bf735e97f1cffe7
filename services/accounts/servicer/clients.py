"""Tokens of internal clients."""

from __future__ import annotations

import hmac
from uuid import UUID

from services.accounts.errors import CredentialsInvalid
from services.accounts.models import Client, IssuedTokens
from services.accounts.parts import Parts
from services.accounts.sealing import token_hash
from services.accounts.servicer.common import send_tokens
from services.accounts.store import ClientStore
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb

GRANT_TYPE = "client_credentials"


class ClientRpcs:
    """Exchanges the credentials of internal clients."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clients = ClientStore(parts.database)

    async def GetClientToken(
        self, request: pb.GetClientTokenRequest, context: Context
    ) -> pb.Tokens:
        if request.grant_type not in ("", GRANT_TYPE):
            raise InvalidField(FieldViolation("grant_type", f'must be "{GRANT_TYPE}"'))
        client = await self._authenticated(request.client_id, request.client_secret)
        signer = self._parts.keys.signer()
        access_token = signer.sign(str(client.client_id), client.roles)
        tokens = IssuedTokens(access_token, signer.lifetime_seconds)
        return await send_tokens(context, tokens, 0, use_cookie=False)

    async def _authenticated(self, client_id: str, secret: str) -> Client:
        """Errors: CredentialsInvalid, the same for an unknown client and a wrong secret."""
        try:
            client = await self._clients.find(UUID(client_id))
        except ValueError:
            raise CredentialsInvalid from None
        if client is None or not hmac.compare_digest(client.secret_hash, token_hash(secret)):
            raise CredentialsInvalid
        return client
