"""The UploadOwnerService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from services.runtime.callers import MAX_OWNER_ID_LENGTH, is_guest
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context
from services.upload.owners import OwnedUploads
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc


class UploadOwnerServicer(upload_pb2_grpc.UploadOwnerServiceServicer):
    """Transfers and erases the uploads of owners, for the accounts service."""

    def __init__(self, uploads: OwnedUploads) -> None:
        self._uploads = uploads

    async def AdoptUploads(
        self, request: pb.AdoptUploadsRequest, context: Context
    ) -> pb.AdoptUploadsResponse:
        violations = [
            *_violations("from_owner_id", request.from_owner_id),
            *_violations("to_owner_id", request.to_owner_id),
        ]
        if not is_guest(request.from_owner_id):
            violations.append(FieldViolation("from_owner_id", "must be the id of a guest"))
        if is_guest(request.to_owner_id):
            violations.append(FieldViolation("to_owner_id", "must be the id of an account"))
        if violations:
            raise InvalidField(*violations)
        adopted = await self._uploads.adopt(request.from_owner_id, request.to_owner_id)
        return pb.AdoptUploadsResponse(adopted=adopted)

    async def EraseUploads(
        self, request: pb.EraseUploadsRequest, context: Context
    ) -> pb.EraseUploadsResponse:
        violations = _violations("owner_id", request.owner_id)
        if violations:
            raise InvalidField(*violations)
        erased = await self._uploads.erase(request.owner_id)
        return pb.EraseUploadsResponse(
            erased=erased.erased, has_more=erased.has_more, pending=erased.pending
        )


def _violations(field: str, owner_id: str) -> list[FieldViolation]:
    if 0 < len(owner_id) <= MAX_OWNER_ID_LENGTH:
        return []
    return [FieldViolation(field, f"must have 1 to {MAX_OWNER_ID_LENGTH} characters")]
