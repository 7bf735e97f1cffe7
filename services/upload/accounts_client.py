"""Client of the accounts service, which receives pictures."""

from __future__ import annotations

import grpc
from grpc import StatusCode

from services.runtime.shared_errors import CredentialsMissing
from services.upload.errors import AccountsUnavailable
from services.upload.models import StoredObject
from sori.accounts.v1 import accounts_pb2, accounts_pb2_grpc


class AccountsClient:
    """Calls the accounts service about pictures."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = accounts_pb2_grpc.AccountPictureServiceStub(channel)

    async def set_picture(self, account_id: str, stored: StoredObject) -> None:
        """Make an object the picture of an account; may be repeated.

        Errors: CredentialsMissing when the account is deleted, AccountsUnavailable.
        """
        request = accounts_pb2.SetPictureRequest(
            account_id=account_id,
            object_key=stored.object_key,
            content_type=stored.content_type,
            size=stored.size,
        )
        try:
            await self._stub.SetPicture(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is StatusCode.NOT_FOUND:
                # The access token outlives the account for minutes.
                raise CredentialsMissing from error
            raise AccountsUnavailable from error

    async def release_picture(self, account_id: str, object_key: str) -> bool:
        """Report that the upload of an object has failed; returns whether the account uses it.

        Errors: AccountsUnavailable.
        """
        request = accounts_pb2.ReleasePictureRequest(account_id=account_id, object_key=object_key)
        try:
            return (await self._stub.ReleasePicture(request)).in_use
        except grpc.aio.AioRpcError as error:
            raise AccountsUnavailable from error
