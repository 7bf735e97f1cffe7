"""Login, refresh, log-out and sessions."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.accounts import converters
from services.accounts.errors import SessionEnded
from services.accounts.metrics import counted_login
from services.accounts.parts import Parts
from services.accounts.servicer.common import (
    account_id_of,
    check_same_site,
    device_of,
    proof_of,
    refresh_cookie,
    refresh_token_of,
    send_tokens,
    uuid_of,
)
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb


class LoginRpcs:
    """Begins, continues, lists and ends sessions."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def LogIn(self, request: pb.LogInRequest, context: Context) -> pb.Tokens:
        if request.use_cookie:
            check_same_site(context)
        device, address = device_of(request.device), client_key(context)
        with counted_login():
            account_id = await self._parts.passwords.log_in(
                request.email, request.password, address
            )
            await self._parts.second_factor.check(account_id, proof_of(request), address)
        tokens = await self._parts.sessions.begin(account_id, device=device, address=address)
        return await send_tokens(
            context,
            tokens,
            self._parts.settings.refresh_token_seconds,
            use_cookie=request.use_cookie,
        )

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.Tokens:
        token = refresh_token_of(context, request.refresh_token)
        if not token:
            raise SessionEnded
        tokens = await self._parts.sessions.refresh(token, client_key(context))
        return await send_tokens(
            context,
            tokens,
            self._parts.settings.refresh_token_seconds,
            use_cookie=not request.refresh_token,
        )

    async def LogOut(self, request: pb.LogOutRequest, context: Context) -> Empty:
        token = refresh_token_of(context, request.refresh_token)
        if token:
            await self._parts.sessions.end(token, everywhere=request.everywhere)
        if not request.refresh_token:
            await context.send_initial_metadata((("set-cookie", refresh_cookie("", 0)),))
        return Empty()

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        sessions = await self._parts.sessions.list_open(account_id_of(context))
        return pb.ListSessionsResponse(sessions=map(converters.session_to, sessions))

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> Empty:
        session_id = uuid_of("session_id", request.session_id)
        await self._parts.sessions.end_one(account_id_of(context), session_id)
        return Empty()
