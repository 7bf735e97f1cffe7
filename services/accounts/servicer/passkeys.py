"""Passkeys."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.accounts import converters
from services.accounts.parts import Parts
from services.accounts.servicer.common import (
    account_id_of,
    check_same_site,
    credential_of,
    device_of,
    label_of,
    proof_of,
    send_tokens,
    uuid_of,
)
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb


class PasskeyRpcs:
    """Registers, lists and deletes passkeys of the caller's account, and logs in with them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._passkeys = parts.passkeys

    async def BeginPasskeyRegistration(
        self, request: pb.BeginPasskeyRegistrationRequest, context: Context
    ) -> pb.PasskeyOptions:
        account_id, address, proof = account_id_of(context), client_key(context), proof_of(request)
        account = await self._parts.accounts.get(account_id)
        await self._parts.passwords.check(account_id, request.password, address)
        await self._parts.second_factor.check(account_id, proof, address)
        options = await self._passkeys.begin_registration(account_id, account.email)
        return converters.passkey_options_to(options)

    async def EndPasskeyRegistration(
        self, request: pb.EndPasskeyRegistrationRequest, context: Context
    ) -> pb.EndPasskeyRegistrationResponse:
        account_id, name = account_id_of(context), label_of("name", request.name)
        credential = credential_of("credential", request.credential)
        passkey, codes = await self._passkeys.end_registration(
            account_id, credential, name, client_key(context)
        )
        return pb.EndPasskeyRegistrationResponse(
            passkey=converters.passkey_to(passkey), recovery_codes=codes
        )

    async def ListPasskeys(
        self, request: pb.ListPasskeysRequest, context: Context
    ) -> pb.ListPasskeysResponse:
        passkeys = await self._passkeys.list_of(account_id_of(context))
        return pb.ListPasskeysResponse(passkeys=map(converters.passkey_to, passkeys))

    async def DeletePasskey(self, request: pb.DeletePasskeyRequest, context: Context) -> Empty:
        account_id, address = account_id_of(context), client_key(context)
        passkey_id, proof = uuid_of("passkey_id", request.passkey_id), proof_of(request)
        await self._parts.second_factor.check(account_id, proof, address)
        await self._passkeys.delete(account_id, passkey_id, address)
        return Empty()

    async def BeginPasskeyLogin(
        self, request: pb.BeginPasskeyLoginRequest, context: Context
    ) -> pb.PasskeyOptions:
        options = await self._passkeys.begin_login(
            client_key(context), is_second_factor=request.second_factor
        )
        return converters.passkey_options_to(options)

    async def EndPasskeyLogin(
        self, request: pb.EndPasskeyLoginRequest, context: Context
    ) -> pb.Tokens:
        if request.use_cookie:
            check_same_site(context)
        device, address = device_of(request.device), client_key(context)
        credential = credential_of("credential", request.credential)
        account_id = await self._passkeys.log_in(credential, address)
        tokens = await self._parts.sessions.begin(account_id, device=device, address=address)
        return await send_tokens(
            context,
            tokens,
            self._parts.settings.refresh_token_seconds,
            use_cookie=request.use_cookie,
        )
