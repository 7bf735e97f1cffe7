"""Conversions between protobuf messages and the domain objects of uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context, call_metadata
from services.runtime.times import timestamp_of
from services.upload.guests import Creator
from services.upload.models import Kind, Plan, Upload
from services.upload.request_ids import RequestId
from services.upload.state import State
from services.upload.stream import Content, Finish, recording_start, require_chunk
from sori.upload.v1 import upload_pb2 as pb


def plan_from(request: pb.CreateUploadRequest, context: Context, creator: Creator) -> Plan:
    """The plan of an upload. Errors: InvalidField."""
    request_id = request_id_of(context, creator, request.request_id)
    start = recording_start(request.token_id, request.file_name, request_id, creator.owner_id)
    size = request.size if request.HasField("size") else None
    sha256 = request.sha256 if request.HasField("sha256") else None
    if size is not None and size < 1:
        raise InvalidField(FieldViolation("size", "must be 1 or more"))
    if sha256 is not None and len(sha256) != 32:
        raise InvalidField(FieldViolation("sha256", "must be 32 bytes"))
    return Plan(
        Kind.RECORDING,
        start.token_id,
        start.file_name,
        size,
        sha256,
        start.request_id,
        start.client,
        start.owner_id,
    )


def request_id_of(context: Context, creator: Creator, field: str = "") -> RequestId:
    """The id of a request: its field, or the header `idempotency-key`.

    The draft standard of the header puts the key in quotes; clients often omit them.
    """
    header = call_metadata(context).get("idempotency-key", "").strip('"')
    return creator.request_id(field or header)


def upload_id_from(text: str) -> UUID:
    """The id of an upload. Errors: InvalidField."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation("upload_id", "must be a UUID")) from None


def offset_from(first: pb.WriteUploadRequest) -> int:
    """The offset of the first byte of a write. Errors: InvalidField."""
    if first.write_offset < 0:
        raise InvalidField(FieldViolation("write_offset", "must be 0 or more"))
    return first.write_offset


async def content_of_writes(
    first: pb.WriteUploadRequest, others: AsyncIterator[pb.WriteUploadRequest | memoryview]
) -> Content:
    """The bytes of a write, and its finish if it states one.

    others: a memoryview is a message with this chunk.
    """
    request: pb.WriteUploadRequest | memoryview | None = first
    del first
    while request is not None:
        if isinstance(request, memoryview):
            chunk, finishes = request, False
        else:
            chunk, finishes = memoryview(request.chunk), request.finish_write
        # Each reference would keep the bytes in memory while they are processed.
        del request
        require_chunk(chunk)
        if chunk:
            yield chunk
        del chunk
        if finishes:
            yield Finish()
            return
        request = await anext(others, None)


def upload_to(upload: Upload) -> pb.Upload:
    """An upload as its message."""
    plan = upload.plan
    return pb.Upload(
        upload_id=str(upload.upload_id),
        state=_state_to(upload.state),
        token_id=plan.token_id,
        job_id=str(upload.job_id or ""),
        committed_size=upload.committed_size,
        size=plan.size,
        expire_time=timestamp_of(upload.expire_time),
        create_time=timestamp_of(upload.create_time),
        file_name=plan.file_name,
        failure_reason=upload.failure_reason,
    )


def _state_to(state: State) -> pb.UploadState.ValueType:
    """A stored upload still waits for the end of its stream, as far as clients are concerned."""
    shown = State.RECEIVING if state is State.STORED else state
    return pb.UploadState.Value(f"UPLOAD_STATE_{shown.upper()}")
