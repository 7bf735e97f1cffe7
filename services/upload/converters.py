"""Between protobuf messages and what the domain knows of uploads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context, call_metadata
from services.runtime.times import timestamp_of
from services.upload.stream import Whole, start
from services.upload.uploads import Kind, Plan, Upload
from sori.upload.v1 import upload_pb2 as pb


def plan_from(request: pb.CreateUploadRequest, idempotency_key: str) -> Plan:
    """What is to be uploaded. Errors: InvalidField."""
    begun = start(request.token_id, request.file_name, request.request_id or idempotency_key)
    size = request.size if request.HasField("size") else None
    sha256 = request.sha256 if request.HasField("sha256") else None
    if size is not None and size < 1:
        raise InvalidField(FieldViolation("size", "must be 1 or more"))
    if sha256 is not None and len(sha256) != 32:
        raise InvalidField(FieldViolation("sha256", "must be 32 bytes"))
    return Plan(Kind.RECORDING, begun.token_id, begun.file_name, size, sha256, begun.request_id)


def idempotency_key(context: Context) -> str:
    """The header of that name, without the quotes that its draft standard wants."""
    return call_metadata(context).get("idempotency-key", "").strip('"')


def upload_id_from(text: str) -> UUID:
    """The id of an upload. Errors: InvalidField."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation("upload_id", "must be a UUID")) from None


def offset_from(first: pb.WriteUploadRequest) -> int:
    """Where a write begins. Errors: InvalidField."""
    if first.write_offset < 0:
        raise InvalidField(FieldViolation("write_offset", "must be 0 or more"))
    return first.write_offset


async def items_of_writes(
    first: pb.WriteUploadRequest, others: AsyncIterator[pb.WriteUploadRequest]
) -> AsyncGenerator[bytes | Whole]:
    """The bytes of a write, and its end if it states one."""
    request: pb.WriteUploadRequest | None = first
    del first
    while request is not None:
        chunk, ends = request.chunk, request.finish_write
        # Each would hold the bytes once more while they are taken.
        del request
        if chunk:
            yield chunk
        del chunk
        if ends:
            yield Whole()
            return
        request = await anext(others, None)


def upload_to(upload: Upload) -> pb.Upload:
    """The upload as its message."""
    plan = upload.plan
    return pb.Upload(
        upload_id=str(upload.upload_id),
        state=pb.UploadState.Value(f"UPLOAD_STATE_{upload.state.upper()}"),
        token_id=plan.token_id,
        job_id=str(upload.job_id or ""),
        committed_size=upload.committed_size,
        size=plan.size,
        expire_time=timestamp_of(upload.expire_time),
        create_time=timestamp_of(upload.create_time),
        file_name=plan.file_name,
        failure_reason=upload.failure_reason,
    )
