"""The AccountPictureService: pictures that the upload service has stored."""

from __future__ import annotations

from uuid import UUID

from services.accounts.models import Picture
from services.accounts.pictures import prefix_of
from services.accounts.servicer.common import uuid_of
from services.accounts.store import PictureStore
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context
from sori.accounts.v1 import accounts_pb2 as pb
from sori.accounts.v1 import accounts_pb2_grpc

CONTENT_TYPES = ("image/png", "image/jpeg", "image/webp")


class AccountPictureServicer(accounts_pb2_grpc.AccountPictureServiceServicer):
    """Gives pictures to accounts, for the upload service."""

    def __init__(self, pictures: PictureStore) -> None:
        self._pictures = pictures

    async def SetPicture(
        self, request: pb.SetPictureRequest, context: Context
    ) -> pb.SetPictureResponse:
        account_id, key = _object_of(request.account_id, request.object_key)
        violations = []
        if request.content_type not in CONTENT_TYPES:
            problem = f"must be one of {', '.join(CONTENT_TYPES)}"
            violations.append(FieldViolation("content_type", problem))
        if request.size < 1:
            violations.append(FieldViolation("size", "must be 1 or more"))
        if violations:
            raise InvalidField(*violations)
        picture = Picture(key, request.content_type, request.size)
        await self._pictures.set(account_id, picture)
        return pb.SetPictureResponse()

    async def ReleasePicture(
        self, request: pb.ReleasePictureRequest, context: Context
    ) -> pb.ReleasePictureResponse:
        account_id, key = _object_of(request.account_id, request.object_key)
        return pb.ReleasePictureResponse(in_use=await self._pictures.release(account_id, key))


def _object_of(account_id: str, object_key: str) -> tuple[UUID, str]:
    """The account and the key of one of its objects. Errors: InvalidField."""
    owner = uuid_of("account_id", account_id)
    prefix = prefix_of(owner)
    if not object_key.startswith(prefix):
        raise InvalidField(FieldViolation("object_key", f"must start with {prefix}"))
    uuid_of("object_key", object_key.removeprefix(prefix))
    return owner, object_key
