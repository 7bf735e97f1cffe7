"""Logins with OpenID providers."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from services.accounts.errors import (
    IdTokenInvalid,
    LoginStateInvalid,
    ProviderUnavailable,
    TooManyAttempts,
)
from services.accounts.login_state import LoginState
from services.accounts.parts import Parts
from services.accounts.provider_attempts import ProviderAttempts
from services.accounts.provider_identity import Arrival
from services.accounts.providers import GOOGLE
from services.accounts.return_to import with_parameter
from services.accounts.second_factor import Proof
from services.accounts.servicer.common import (
    check_same_site,
    cookie_of,
    device_of,
    proof_of,
    refresh_cookie,
    send_tokens,
)
from services.runtime.access import caller_of
from services.runtime.client_address import client_key
from services.runtime.interceptors import HTTP_STATUS, Context, call_language
from sori.accounts.v1 import accounts_pb2 as pb

FOUND = 302
SEE_OTHER = 303
DECLINED = "access_denied"

_SHOWN_BY_PAGE = (IdTokenInvalid, LoginStateInvalid, ProviderUnavailable, TooManyAttempts)
"""The errors of a login that its page shows, because its browser shows no JSON."""


class ProviderRpcs:
    """Logins with OpenID providers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._logins = parts.provider_logins
        self._attempts = ProviderAttempts(
            parts.passwords.limits, parts.settings.accounts_guesses_per_address
        )

    async def LogInWithIdToken(
        self, request: pb.LogInWithIdTokenRequest, context: Context
    ) -> pb.Tokens:
        if request.use_cookie:
            check_same_site(context)
        device = device_of(request.device)
        async with self._attempts.end(client_key(context), has_start=False):
            account_id = await self._logins.account_of_id_token(
                request.provider, request.id_token, request.nonce, _arrival(context)
            )
        proof = proof_of(request)
        return await self._confirmed(
            context, account_id, proof, device, use_cookie=request.use_cookie
        )

    async def LogInWithGoogle(
        self, request: pb.LogInWithGoogleRequest, context: Context
    ) -> pb.Tokens:
        return await self.LogInWithIdToken(
            pb.LogInWithIdTokenRequest(provider=GOOGLE, id_token=request.id_token), context
        )

    async def BeginProviderLogin(
        self, request: pb.BeginProviderLoginRequest, context: Context
    ) -> HttpBody:
        async with self._attempts.start(client_key(context)):
            begun = await self._logins.begin(request.provider, request.return_to)
        return await _redirect(context, begun.location, begun.cookies)

    async def EndProviderLogin(
        self, request: pb.EndProviderLoginRequest, context: Context
    ) -> HttpBody:
        cookie_name = self._logins.cookies.state_name(request.state)
        cookie = cookie_of(context, cookie_name)
        state = self._logins.state_of(request.provider, request.state, cookie)
        location, cookies = await self._ended(request, state, context)
        return await _redirect(
            context, location, (*cookies, self._logins.cookies.removal(cookie_name))
        )

    async def ForwardProviderLogin(
        self, request: pb.ForwardProviderLoginRequest, context: Context
    ) -> HttpBody:
        path = self._logins.callback_path(request.provider, request.form.data)
        return await _redirect(context, path, status=SEE_OTHER)

    async def ConfirmLogin(self, request: pb.ConfirmLoginRequest, context: Context) -> pb.Tokens:
        check_same_site(context)
        cookie = cookie_of(context, self._logins.cookies.pending_name)
        account_id = self._logins.pending_account(cookie)
        device = device_of(request.device)
        proof = proof_of(request)
        return await self._confirmed(
            context, account_id, proof, device, use_cookie=request.use_cookie
        )

    async def _ended(
        self, request: pb.EndProviderLoginRequest, state: LoginState, context: Context
    ) -> tuple[str, Sequence[str]]:
        """The page to which the browser returns after a login, and the cookies that it gets."""
        if request.error:
            error = DECLINED if request.error == DECLINED else "provider_error"
            return with_parameter(state.return_to, "login_error", error), ()
        try:
            async with self._attempts.end(client_key(context), has_start=True):
                account_id = await self._logins.account_of_code(
                    state, request.code, _arrival(context)
                )
        except _SHOWN_BY_PAGE as error:
            return with_parameter(state.return_to, "login_error", error.reason.lower()), ()
        if await self._parts.second_factor.is_required(account_id):
            location = with_parameter(state.return_to, "login", "second_factor")
            return location, [self._logins.pending(account_id)]
        tokens = await self._parts.sessions.begin(
            account_id, device="", address=client_key(context)
        )
        seconds = self._parts.settings.refresh_token_seconds
        return state.return_to, [refresh_cookie(tokens.refresh_token, seconds)]

    async def _confirmed(
        self, context: Context, account_id: UUID, proof: Proof, device: str, *, use_cookie: bool
    ) -> pb.Tokens:
        """The tokens of a new session, if the second factor permits it."""
        address = client_key(context)
        await self._parts.second_factor.check(account_id, proof, address)
        tokens = await self._parts.sessions.begin(account_id, device=device, address=address)
        seconds = self._parts.settings.refresh_token_seconds
        return await send_tokens(context, tokens, seconds, use_cookie=use_cookie)


def _arrival(context: Context) -> Arrival:
    caller = caller_of(context)
    guest = "" if caller.is_account else caller.owner_id
    return Arrival(call_language(context), guest, client_key(context))


async def _redirect(
    context: Context, location: str, cookies: Sequence[str] = (), *, status: int = FOUND
) -> HttpBody:
    headers = [("location", location), ("cache-control", "no-store"), (HTTP_STATUS, str(status))]
    headers += [("set-cookie", cookie) for cookie in cookies]
    await context.send_initial_metadata(tuple(headers))
    return HttpBody()
