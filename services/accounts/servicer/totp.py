"""Authenticator apps."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.accounts.parts import Parts
from services.accounts.servicer.common import own_account
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb


class TotpRpcs:
    """Sets up and removes the authenticator app of the caller's account."""

    def __init__(self, parts: Parts) -> None:
        self._second_factor = parts.second_factor

    async def EnrollTotp(
        self, request: pb.EnrollTotpRequest, context: Context
    ) -> pb.TotpEnrollment:
        with own_account(context) as account_id:
            enrollment = await self._second_factor.enroll(account_id)
        return pb.TotpEnrollment(secret=enrollment.text, uri=enrollment.uri)

    async def ConfirmTotp(
        self, request: pb.ConfirmTotpRequest, context: Context
    ) -> pb.ConfirmTotpResponse:
        with own_account(context) as account_id:
            codes = await self._second_factor.confirm(account_id, request.code, client_key(context))
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def RemoveTotp(self, request: pb.RemoveTotpRequest, context: Context) -> Empty:
        with own_account(context) as account_id:
            await self._second_factor.remove(account_id, request.code, client_key(context))
        return Empty()
