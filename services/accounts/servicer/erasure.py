"""Deletion and export of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from google.api.httpbody_pb2 import HttpBody

from services.accounts import converters
from services.accounts.export import export_document
from services.accounts.parts import Parts
from services.accounts.servicer.common import own_account, uuid_of
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb

_logger = structlog.get_logger(__name__)

_DOWNLOAD = (
    ("content-disposition", 'attachment; filename="sori-account.json"'),
    ("cache-control", "no-store"),
)


class ErasureRpcs:
    """Deletes and exports everything of the caller's account."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def DeleteMe(self, request: pb.DeleteMeRequest, context: Context) -> pb.Erasure:
        address = client_key(context)
        with own_account(context) as account_id:
            await self._parts.passwords.check(account_id, request.password, address)
            erasure = await self._parts.erasures.begin(account_id, address)
        # After a restore of an older back-up, operators repeat the erasures in the log.
        _logger.info(
            "account deleted",
            account_id=str(account_id),
            erasure_id=str(erasure.erasure_id),
        )
        return converters.erasure_to(erasure)

    async def GetErasure(self, request: pb.GetErasureRequest, context: Context) -> pb.Erasure:
        erasure_id = uuid_of("erasure_id", request.erasure_id)
        return converters.erasure_to(await self._parts.erasures.get(erasure_id))

    async def ExportMe(
        self, request: pb.ExportMeRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        with own_account(context) as account_id:
            account = await self._parts.accounts.get(account_id)
        sessions = await self._parts.sessions.list_open(account_id)
        passkeys = await self._parts.passkeys.list_of(account_id)
        analyses = self._parts.analyses.export(str(account_id))
        message = converters.account_to(account, await self._parts.pictures.url(account))
        await context.send_initial_metadata(_DOWNLOAD)
        async for piece in export_document(message, sessions, passkeys, analyses):
            yield HttpBody(content_type="application/json", data=piece)
